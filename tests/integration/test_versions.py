"""Two versions of a view in the running Redis: they agree, until one of them lacks an edit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from appliance.clients import redis
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.redis_log import forget_version
from stream_jobs.plan import Plan, View
from stream_jobs.versions import agreement

pytestmark = pytest.mark.integration

_NAME = "customer_payments"
_ENTITIES = 20


@pytest.fixture
def pair(live: Context) -> Iterator[tuple[Any, Plan, View, View]]:
    """Two copies of some entities of a view, under version numbers that no apply has given."""
    store = redis.connect(live, "appliance")
    plan, names = plans.read(live.layout.plan_file), live.names
    view = plan.view(_NAME)
    copies = [replace(view, version=number, edits_topic=names.edits(_NAME, number)) for number in (900_001, 900_002)]
    prefix = names.redis_edits(_NAME, view.version, "")
    keys = sorted(store.scan_iter(match=prefix + "*", count=1000))[:_ENTITIES]
    assert len(keys) == _ENTITIES
    reached = store.get(reached_positions.key(names, view))
    for copy in copies:
        for key in keys:
            entity = key.decode().removeprefix(prefix)
            store.set(names.redis_edits(_NAME, copy.version, entity), store.get(key), ex=600)
        store.set(reached_positions.key(names, copy), reached, ex=600)
    yield store, plan, copies[0], copies[1]
    for copy in copies:
        forget_version(store, names, copy)


def test_a_missing_edit_is_a_difference_that_names_entity_and_feature(
    live: Context, held_clock: int, pair: tuple[Any, Plan, View, View]
) -> None:
    store, plan, serving, coming = pair
    same = agreement.compare(store, live.names, plan, serving, coming)
    assert (same.entities, len(same.features), same.differences) == (_ENTITIES, len(serving.features), ())
    recent = replace(serving.features[0], name="newest", window_us=10 * 365 * 86_400_000_000)
    serving, coming = (replace(view, features=(recent,)) for view in (serving, coming))
    key = next(store.scan_iter(match=live.names.redis_edits(_NAME, coming.version, "*"), count=1000))
    raw = store.get(key)
    store.set(key, raw[: -len(RowLayout.of(plan, coming).split(raw[40:])[-1])], ex=600)
    (found,) = agreement.compare(store, live.names, plan, serving, coming).differences
    assert found.startswith(f"{_NAME}:newest of {key.decode().rpartition(':')[2]} is ")


def test_only_features_that_mean_the_same_must_agree(pair: tuple[Any, Plan, View, View]) -> None:
    _, _, serving, coming = pair
    longer = replace(coming.features[0], window_us=coming.features[0].window_us + 1)
    changed = replace(coming, features=(longer, *coming.features[1:]))
    assert agreement.shared_features(serving, changed) == tuple(feature.name for feature in serving.features[1:])
