"""The appliance clock: ``now`` by default, the scenario's time while old data are replayed.

One JSON record in Redis says which: ``{"scenario_us": int, "wall_us": int, "speed": float}``; none: the wall clock.
Scenario time = scenario_us + (wall now - wall_us) * speed, and speed 0 holds the clock still.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec


class ClockRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    scenario_us: int
    wall_us: int
    speed: float


def wall_us() -> int:
    return time.time_ns() // 1000


def at(record: ClockRecord | None, wall: int) -> int:
    """Appliance time (µs UTC) at wall-clock time ``wall``."""
    if record is None:
        return wall
    return record.scenario_us + round((wall - record.wall_us) * record.speed)


def decode(raw: bytes | None) -> ClockRecord | None:
    return msgspec.json.decode(raw, type=ClockRecord) if raw else None


class Clock:
    """Reads the clock record at most every ``cache_ms`` from a redis-py client that returns bytes."""

    def __init__(self, redis: Any, key: str, cache_ms: int = 200) -> None:
        self._redis, self.key, self._cache_us = redis, key, cache_ms * 1000
        self._record: ClockRecord | None = None
        self._read_at = 0

    def now_us(self) -> int:
        wall = wall_us()
        if wall - self._read_at >= self._cache_us:
            self.note(self._redis.get(self.key))
        return at(self._record, wall)

    def note(self, raw: bytes | None) -> None:
        """Take the record that somebody has just read from ``key`` with other things."""
        self._record, self._read_at = decode(raw), wall_us()

    def set(self, record: ClockRecord | None) -> None:
        """Set the clock for every process; None returns it to the wall clock."""
        if record is None:
            self._redis.delete(self.key)
        else:
            self._redis.set(self.key, msgspec.json.encode(record))
        self._record, self._read_at = record, wall_us()
