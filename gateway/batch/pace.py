"""Low priority: the operating system's idle class, and pauses between calls that grow when the model is busy.

Triton has one queue for everybody. So calls are small, and after each of them the batch rests: as long as the call took
while nothing else runs, and the longer the more a call takes than the quickest one lately did. A caller of the API so
waits for at most one small call of ours.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

ROWS_A_CALL = 128
"""A call of the model then takes about as long as one of a few rows."""
LONGEST_REST_SECONDS = 1.0
_FORGET = 1.02
"""How much the quickest call is forgotten with each call: a machine that has become slower is not busy for ever."""

T = TypeVar("T")


def lowest_priority() -> None:
    """Let this process and the threads it starts run only where nothing else wants the processor (SCHED_IDLE)."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def rest_seconds(took: float, quickest: float) -> float:
    """How long to rest after a call: as long as it took, times how much slower than the quickest it was, squared."""
    return min(took * (took / quickest) ** 2, LONGEST_REST_SECONDS)


class Pace:
    """Makes calls and rests after each. clock and sleep: in seconds. rested: seconds in all."""

    def __init__(
        self, clock: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._quickest = float("inf")
        self.rested = 0.0

    def call(self, work: Callable[[], T]) -> T:
        """What ``work`` gives, after the rest that its duration asks for."""
        started = self._clock()
        result = work()
        took = max(self._clock() - started, 1e-6)
        self._quickest = min(self._quickest * _FORGET, took)
        rest = rest_seconds(took, self._quickest)
        self._sleep(rest)
        self.rested += rest
        return result
