"""Whether two versions of a view give the same values where they must: for features that mean the same in both."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from appliance.clock import Clock
from appliance.names import Names
from appliance.records import Value
from stream_jobs.compiler.definition import feature_hash
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.reader import SEPARATOR, OnlineReader, RowInHand
from stream_jobs.online.view_reader import History
from stream_jobs.plan import Plan, Policy, Service, View

SAMPLE = 200
_SCANNED = 2_000


@dataclass(frozen=True)
class Agreement:
    """entities: how many were compared. features: those that must agree. differences: the first ones, in words."""

    entities: int
    features: tuple[str, ...]
    differences: tuple[str, ...]


def shared_features(one: View, other: View) -> tuple[str, ...]:
    """Names of the features that mean the same in both."""
    known = {feature.name: feature_hash(other, feature) for feature in other.features}
    return tuple(f.name for f in one.features if known.get(f.name) == feature_hash(one, f))


def compare(
    redis: Any, names: Names, plan: Plan, serving: View, coming: View, history: History | None = None
) -> Agreement:
    """Both versions' values of a sample of entities, as of now, at the lower of the two positions reached.

    Raises redis-py's errors, and CutTooOldError without a history where a store no longer has what the cut needs.
    """
    features = shared_features(serving, coming)
    entities = _sample(redis, names, serving) | _sample(redis, names, coming)
    reached = [reached_positions.read(redis, names, [view])[view.name] for view in (serving, coming)]
    if not features or not entities or None in reached:
        return Agreement(0, features, ())
    cut = min(each.position for each in reached if each is not None)
    as_of = Clock(redis, names.redis_clock()).now_us()
    chosen = sorted(entities)
    found = []
    for view in (serving, coming):
        reader = OnlineReader(redis, names, replace(plan, views=(view,)), history)
        rows = [RowInHand(as_of, dict(zip(view.join_keys, each.split(SEPARATOR), strict=True)), cut) for each in chosen]
        found.append([vector.features for vector in reader.vectors(_probe(view), rows)])
    different = [
        _words(serving, coming, entity, name, cut, as_of, before[name].value, after[name].value)
        for entity, before, after in zip(chosen, *found, strict=True)
        for name in (f"{serving.name}:{feature}" for feature in features)
        if before[name].value != after[name].value
    ]
    return Agreement(len(chosen), features, tuple(different[:5]))


def _words(
    serving: View,
    coming: View,
    entity: str,
    name: str,
    cut: str,
    as_of: int,
    before: Value | list[Value],
    after: Value | list[Value],
) -> str:
    return (
        f"{name} of {'/'.join(entity.split(SEPARATOR))} is {before} in version {serving.version}"
        f" and {after} in version {coming.version}, at position {cut} as of {as_of} µs"
    )


def _sample(redis: Any, names: Names, view: View) -> set[str]:
    """Some entities of a version."""
    prefix = names.redis_edits(view.name, view.version, "")
    cursor, keys = 0, list[bytes]()
    while len(keys) < _SCANNED:
        cursor, page = redis.scan(cursor, match=prefix + "*", count=1000)
        keys += page
        if cursor == 0:
            break
    chosen = random.sample(keys, min(SAMPLE, len(keys)))
    return {key.decode().removeprefix(prefix) for key in chosen}


def _probe(view: View) -> Service:
    """A service of one view whose rows are in no view."""
    return Service(
        name="", source=view.source, event_table="", event_topic="", event_key="", event_time="", row=(),
        views=(view.name,), row_views=(), request_features=(), features=(), model="", policy=Policy(1, 1, 0, ""),
        definition_hash="",
    )  # fmt: skip
