"""The position a view has reached online: every edit of it with a position ≤ this one is in the store."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from appliance.names import Names
from stream_jobs.plan import View


class Reached(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """position: 32 hex digits. known_at: commit time at that position, µs UTC."""

    position: str
    known_at: int


def key(names: Names, view: View) -> str:
    return names.redis_reached(view.name, view.version)


def encode(reached: Reached) -> bytes:
    return msgspec.json.encode(reached)


def decode(raw: bytes | None) -> Reached | None:
    """None while markers have not yet come through every channel of the view."""
    return msgspec.json.decode(raw, type=Reached) if raw else None


def lowest(channels: Iterable[tuple[int, str]], seen: Mapping[tuple[int, str], Reached]) -> Reached | None:
    """The minimum over every (edits partition, channel); None if one of them has not spoken yet."""
    spoken = [seen.get(channel) for channel in channels]
    if not spoken or None in spoken:
        return None
    return min((one for one in spoken if one is not None), key=lambda one: (one.position, one.known_at))


def read(redis: Any, names: Names, views: Iterable[View]) -> dict[str, Reached | None]:
    """View name → position reached, in one round trip. redis: a redis-py client that returns bytes."""
    views = list(views)
    raw = redis.mget([key(names, view) for view in views]) if views else []
    return {view.name: decode(value) for view, value in zip(views, raw, strict=True)}


def wait(redis: Any, names: Names, views: Iterable[View], position: str, timeout_ms: int) -> bool:
    """Whether every view reaches ``position`` within ``timeout_ms``; looks every 5 ms."""
    views = list(views)
    deadline = time.monotonic() + timeout_ms / 1000
    while True:
        if all(one is not None and one.position >= position for one in read(redis, names, views).values()):
            return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.005)
