"""The appliance clock while sample data are replayed: always held at a scenario time, set forward in steps.

A record with speed 0 is right even when the replay is killed: the clock then stands at the last committed row.
"""

from __future__ import annotations

from redis.exceptions import RedisError

from appliance import users
from appliance.clients import redis
from appliance.clock import Clock, ClockRecord, wall_us
from appliance.parts.base import Context
from stream_jobs.errors import SampleError


def hold(context: Context, scenario_us: int | None) -> None:
    """Hold the clock at ``scenario_us`` (µs UTC); None gives it back to the wall. Raises SampleError without Redis."""
    record = None if scenario_us is None else ClockRecord(scenario_us, wall_us(), 0.0)
    try:
        with redis.connect(context, users.ADMINISTRATOR) as client:
            Clock(client, context.names.redis_clock()).set(record)
    except RedisError as error:
        raise SampleError(
            "sample.clock", f"the appliance clock cannot be set: {error}", hint="appliance up redis"
        ) from error


class HeldClock:
    """Sets the clock forward, at most every ``every_us``, over one connection."""

    def __init__(self, context: Context, every_us: int = 50_000) -> None:
        self._client = redis.connect(context, users.ADMINISTRATOR)
        self._clock = Clock(self._client, context.names.redis_clock())
        self._every_us, self._set_at, self._scenario_us = every_us, 0, -1

    def advance(self, scenario_us: int, *, now: bool = False) -> None:
        """Hold the clock at ``scenario_us``, unless it stands there already or was set just now."""
        wall = wall_us()
        if scenario_us == self._scenario_us or (not now and wall - self._set_at < self._every_us):
            return
        try:
            self._clock.set(ClockRecord(scenario_us, wall, 0.0))
        except RedisError as error:
            raise SampleError(
                "sample.clock", f"the appliance clock cannot be set: {error}", hint="appliance up redis"
            ) from error
        self._set_at, self._scenario_us = wall, scenario_us

    def close(self) -> None:
        self._client.close()
