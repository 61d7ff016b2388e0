"""The appliance clock of a running appliance, held still for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from appliance import users
from appliance.clients import redis
from appliance.clock import Clock, ClockRecord
from appliance.parts.base import Context


@contextmanager
def held_clock(context: Context, at_us: int | None = None) -> Iterator[int]:
    """It stands still while the block runs, at ``at_us`` (default: where it is), which the block is given."""
    with redis.connect(context, users.ADMINISTRATOR) as store:
        key = context.names.redis_clock()
        before = store.get(key)
        clock = Clock(store, key, cache_ms=0)
        now = clock.now_us() if at_us is None else at_us
        clock.set(ClockRecord(now, 0, 0.0))
        try:
            yield now
        finally:
            if before is None:
                store.delete(key)
            else:
                store.set(key, before)
