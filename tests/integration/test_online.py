"""The online store on the running appliance: Redis, HBase and Feast say the same; the writer writes exactly once."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from redis.exceptions import WatchError

from appliance import users
from appliance.clients import redis as redis_clients
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs import plan as plans
from stream_jobs.errors import OnlineStoreError
from stream_jobs.feature_store import feature_store
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.answers import Answer
from stream_jobs.online.edits_topic import Batch, Received
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, RowLayout, header
from stream_jobs.online.reader import OnlineReader
from stream_jobs.online.redis_log import RedisLog, forget
from stream_jobs.online.sweep import Sweep
from stream_jobs.online.view_reader import ViewReader, Wants
from stream_jobs.plan import Plan, View

pytestmark = pytest.mark.integration

ENTITIES = 200


@pytest.fixture(scope="module")
def plan(live: Context) -> Plan:
    return plans.read(live.layout.plan_file)


@pytest.fixture(scope="module")
def redis(live: Context) -> Iterator[Any]:
    with redis_clients.connect(live, users.ADMINISTRATOR) as client:
        yield client


def entities(redis: Any, names: Names, view: View, most: int) -> list[str]:
    """Entities that have edits in Redis, at random with a fixed seed."""
    prefix = names.redis_edits(view.name, view.version, "")
    keys = sorted(key.decode().removeprefix(prefix) for key in redis.scan_iter(match=f"{prefix}*", count=1000))
    assert keys, f"no entity of {view.name} is in Redis"
    return random.Random(1).sample(keys, min(most, len(keys)))


def test_redis_and_hbase_give_the_same_values(live: Context, plan: Plan, redis: Any) -> None:
    """For every view and each of its features, at one cut and as of the time of each entity's own last row."""
    history = HBaseHistory.of(live)
    for view in plan.views:
        layout = RowLayout.of(plan, view)
        reader = ViewReader(view, layout, live.names, history)
        chosen = entities(redis, live.names, view, ENTITIES)
        reached = reached_positions.read(redis, live.names, [view])[view.name]
        assert reached is not None
        edits = {entity: history.edits(view, entity, reached.position) for entity in chosen}
        chosen = [entity for entity in chosen if edits[entity]]
        assert chosen, f"HBase knows none of the entities of {view.name}"
        wants = Wants(chosen, [max(edit.event_time for edit in edits[entity]) for entity in chosen])
        stored = redis.mget([reader.key_prefix + entity for entity in chosen])
        past = [EMPTY + b"".join(map(layout.encode, edits[entity])) for entity in chosen]
        rows = range(len(chosen))
        found = [reader.find(wants, Answer.of(raw), rows, reached) for raw in (stored, past)]
        plain = [
            [{name: (value.value, value.status) for name, value in one.of(row).items()} for row in rows]
            for one in found
        ]
        assert plain[0] == plain[1]


def test_feast_and_the_reader_agree(live: Context, plan: Plan, redis: Any, held_clock: int) -> None:
    store = feature_store(live)
    reader = OnlineReader(redis, live.names, plan, HBaseHistory.of(live))
    for view in plan.views:
        (key,) = view.join_keys
        chosen = [*entities(redis, live.names, view, ENTITIES), "999999999"]
        features = [f"{view.name}:{feature.name}" for feature in view.features]
        rows = [{key: int(entity)} for entity in chosen]
        answer = store.get_online_features(features=features, entity_rows=rows).to_dict()
        values = reader.values(view.name, chosen, held_clock)
        for feature in view.features:
            assert answer[feature.name] == [one[feature.name].value for one in values], feature.name
        assert {value.status for value in values[-1].values()} == {"missing"}


def test_feast_cannot_write_a_windowed_view(live: Context, plan: Plan) -> None:
    store = feature_store(live)
    table = store.get_stream_feature_view(plan.views[0].name)
    with pytest.raises(OnlineStoreError, match="windowed"):
        store._get_provider().online_store.online_write_batch(store.config, table, [], None)


class _Message:
    """What the log asks of a Kafka record."""

    def __init__(self, partition: int) -> None:
        self._partition = partition

    def partition(self) -> int:
        return self._partition


NAMES = Names("test-online")


@pytest.fixture(scope="module")
def own_plan(plan: Plan) -> Plan:
    """The plan's first view for a tenant of its own."""
    view = plan.views[0]
    view = msgspec.structs.replace(view, edits_topic=NAMES.edits(view.name, view.version))
    return msgspec.structs.replace(plan, views=(view,))


@pytest.fixture
def log(own_plan: Plan, redis: Any) -> Iterator[tuple[RedisLog, Names, View]]:
    """A log of a tenant of its own on the appliance's Redis, for the plan's first view."""
    names, view = NAMES, own_plan.views[0]
    own = RedisLog(redis, names, own_plan)
    own.load()
    own.expect(view, [(0, "cdc/0"), (0, "cdc/1")])
    yield own, names, view
    for key in redis.scan_iter(match="test-online:*", count=1000):
        redis.delete(key)


def _batch(view: View, offset: int, *edits: Edit) -> Batch:
    return Batch([Received(view, _Message(0), edit) for edit in edits], [], {(view.edits_topic, 0): offset})


def _edit(number: int) -> Edit:
    return Edit(1, f"{number:032x}", number, "7", str(number), number)


def _marker(number: int, channel: str) -> Edit:
    return Edit(0, f"{number:032x}", number, channel=channel)


def test_edits_markers_and_offsets_are_one_write(log: tuple[RedisLog, Names, View], redis: Any, own_plan: Plan) -> None:
    own, names, view = log
    own.write(own.pack(_batch(view, 3, _edit(1), _edit(2), _marker(2, "cdc/0"))))
    assert own.reached(view) is None, "a channel has not spoken"
    own.write(own.pack(_batch(view, 4, _marker(1, "cdc/1"))))
    assert reached_positions.read(redis, names, [view])[view.name] == reached_positions.Reached(f"{1:032x}", 1)
    again = RedisLog(redis, names, own_plan)
    assert again.load().offsets == {(view.edits_topic, 0): 4}
    assert again.state == own.state
    raw = redis.get(names.redis_edits(view.name, view.version, "7"))
    assert len(RowLayout.of(own_plan, view).split(raw[HEADER_BYTES:])) == 2


def test_a_writer_that_is_not_where_redis_is_writes_nothing(
    log: tuple[RedisLog, Names, View], redis: Any, own_plan: Plan
) -> None:
    """A second writer, or a Redis that came back with less than it had."""
    own, names, view = log
    late = RedisLog(redis, names, own_plan)
    late.load()
    late.expect(view, [(0, "cdc/0")])
    own.write(own.pack(_batch(view, 1, _edit(1))))
    key = names.redis_edits(view.name, view.version, "7")
    before = redis.get(key)
    with pytest.raises(WatchError):
        late.write(late.pack(_batch(view, 1, _edit(1))))
    assert redis.get(key) == before
    assert late.load() == own.state
    late.write(late.pack(_batch(view, 2, _edit(2))))
    assert len(redis.get(key)) > len(before)


def test_what_does_not_fit_is_told_and_the_rest_is_written(log: tuple[RedisLog, Names, View], redis: Any) -> None:
    own, names, view = log
    broken = msgspec.structs.replace(_edit(1), row_id="not a number")
    packed = own.pack(_batch(view, 2, broken, _edit(2)))
    assert [one.error.code for one in packed.unusable] == ["edit.row_id"]
    own.write(packed)
    assert redis.exists(names.redis_edits(view.name, view.version, "7"))


def test_a_forgotten_view_is_written_again_from_its_first_edit(
    log: tuple[RedisLog, Names, View], redis: Any, own_plan: Plan
) -> None:
    own, names, view = log
    own.write(own.pack(_batch(view, 1, _edit(1), _marker(1, "cdc/0"), _marker(1, "cdc/1"))))
    forget(redis, names, view.name)
    assert list(redis.scan_iter(match="test-online:*", count=1000)) in ([], [b"test-online:writer-redis:state"])
    assert own.load().offsets.get((view.edits_topic, 0)) is None


def test_the_sweep_takes_out_what_no_live_read_needs(
    log: tuple[RedisLog, Names, View], redis: Any, own_plan: Plan
) -> None:
    own, names, view = log
    rows = [_edit(number) for number in range(1, 51)]
    gone = [msgspec.structs.replace(row, sign=-1, position=f"{100 + n:032x}") for n, row in enumerate(rows[:40])]
    markers = [_marker(200, "cdc/0"), _marker(200, "cdc/1")]
    own.write(own.pack(_batch(view, 1, *rows, *gone, *markers)))
    key = names.redis_edits(view.name, view.version, "7")
    sweep = Sweep(redis, names, own_plan, own, fold_margin_seconds=0)
    deadline = time.monotonic() + 30
    while not sweep.step():
        assert time.monotonic() < deadline, "nothing was compacted"
        time.sleep(0.1)
    raw = redis.get(key)
    assert header(raw).folded_to == (0, 200)
    assert len(RowLayout.of(own_plan, view).split(raw[HEADER_BYTES:])) == 10
