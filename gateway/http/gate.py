"""Which requests to score are let in: so many as are answered in time, the others are refused before they are read.

The gate counts what is under way, and measures how much of it is done in a second. What would wait longer than
``wait_ms`` (Little's law: under way ÷ done per second) is refused. A request's weight grows with its size, because its
rows do.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_LEAST = 16
"""So much may always be under way: fewer cannot be measured, and batches need some."""
_WINDOW_SECONDS = 0.1
_BUSY = 4.0
_SMOOTHED = 0.3
_ROWS_BYTES = 512


def weight(body_bytes: int) -> int:
    """Of a request with a body of so many bytes: 1 for one or two rows."""
    return 1 + body_bytes // _ROWS_BYTES


class Gate:
    """Only for the thread of the event loop. refused: how many were, since the start."""

    def __init__(self, wait_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._wait, self._clock = wait_ms / 1000, clock
        self._under_way = 0
        self._per_second: float | None = None
        self._begun, self._done, self._area, self._at = clock(), 0, 0.0, clock()
        self.refused = 0

    @property
    def under_way(self) -> int:
        return self._under_way

    @property
    def room(self) -> float:
        """How much may be under way."""
        return float("inf") if self._per_second is None else max(_LEAST, self._per_second * self._wait)

    @property
    def busy(self) -> bool:
        """Whether a request of one row would not be let in now."""
        return self._under_way >= self.room

    def has_room(self, wanted: int) -> bool:
        """Whether a request of this weight would be let in now; else it counts as refused. The first one always is."""
        if self._under_way and self._under_way + wanted > self.room:
            self.refused += 1
            return False
        return True

    def enter(self, wanted: int) -> bool:
        """Whether a request of this weight is let in; then ``leave`` must follow."""
        if not self.has_room(wanted):
            return False
        self._measure()
        self._under_way += wanted
        return True

    def leave(self, entered: int) -> None:
        """A request of this weight has been answered."""
        self._measure()
        self._under_way -= entered
        self._done += entered

    def _measure(self) -> None:
        """How much is done in a second counts while there is enough to do: an idle server is no slow one."""
        now = self._clock()
        self._area += self._under_way * (now - self._at)
        self._at = now
        elapsed = now - self._begun
        if elapsed < _WINDOW_SECONDS:
            return
        if self._area / elapsed >= _BUSY and self._done:
            rate = self._done / elapsed
            before = self._per_second
            self._per_second = rate if before is None else before + _SMOOTHED * (rate - before)
        self._begun, self._done, self._area = now, 0, 0.0
