"""How much each app may ask for: requests and rows per second, and requests at a time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from appliance.settings import Limits
from gateway.apps import App, AppLimits
from gateway.errors import TooManyError


@dataclass
class _Bucket:
    """Fills with ``rate`` a second up to a second's worth; may be overdrawn once by a request with many rows."""

    rate: int
    level: float
    at: float

    def take(self, wanted: int, now: float) -> float:
        """0 when taken, else the seconds until something can be taken."""
        self.level = min(self.rate, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < min(wanted, self.rate):
            return (min(wanted, self.rate) - self.level) / self.rate
        self.level -= wanted
        return 0.0


@dataclass
class _Use:
    under_way: int = 0
    buckets: dict[str, _Bucket] = field(default_factory=dict)


class Allowances:
    """Only for the thread of the event loop. default: the limits of an app that has none of its own; 0 for no limit."""

    def __init__(self, default: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._default, self._clock = default, clock
        self._uses: dict[str, _Use] = {}

    def enter(self, app: App) -> None:
        """A request of the app begins; then ``leave`` must follow. Raises TooManyError for one too many."""
        use = self._uses.setdefault(app.id, _Use())
        most = self._limit(app.limits, "concurrent_requests")
        if most and use.under_way >= most:
            raise _too_many(app, "concurrent_requests", most, 1.0)
        self._take(app, use, "requests_per_second", 1)
        use.under_way += 1

    def rows(self, app: App, rows: int) -> None:
        """The request has so many rows. Raises TooManyError."""
        self._take(app, self._uses[app.id], "rows_per_second", rows)

    def leave(self, app: App) -> None:
        use = self._uses[app.id]
        use.under_way -= 1
        if not use.under_way and not use.buckets:
            del self._uses[app.id]

    def _limit(self, own: AppLimits, name: str) -> int:
        limit: int | None = getattr(own, name)
        return getattr(self._default, name) if limit is None else limit

    def _take(self, app: App, use: _Use, name: str, wanted: int) -> None:
        rate = self._limit(app.limits, name)
        if not rate:
            use.buckets.pop(name, None)
            return
        bucket = use.buckets.get(name)
        if bucket is None or bucket.rate != rate:
            bucket = use.buckets[name] = _Bucket(rate, rate, self._clock())
        if wait := bucket.take(wanted, self._clock()):
            raise _too_many(app, name, rate, wait)


def _too_many(app: App, name: str, limit: int, wait: float) -> TooManyError:
    return TooManyError(
        f"limit.{name}",
        f"app {app.id} may have {limit} {name.replace('_', ' ')}",
        context={"limit": name, "allowed": limit, "retry_after_s": math.ceil(wait)},
        hint=f"send it again after Retry-After; appliance app limit {app.id} --{name.replace('_', '-')} N",
    )
