"""Rebuilding from the lake on the running appliance: the lake's edits are Flink's, and stores filled anew are right."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import hbase, kafka
from appliance.clients import redis as redis_clients
from appliance.parts.base import Context
from appliance.records import Edit
from appliance.supervisor import Supervisor
from stream_jobs import plan as plans
from stream_jobs.online import hbase_table
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.answers import Answer
from stream_jobs.online.edits_topic import Received
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, RowLayout
from stream_jobs.online.redis_log import rebuild_field, state_key
from stream_jobs.online.view_reader import ViewReader, Wants
from stream_jobs.online.writer_hbase import HBaseSession
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild import from_lake, held
from stream_jobs.rebuild.hbase import HBaseRebuild
from stream_jobs.rebuild.redis import RedisRebuild
from stream_jobs.windows.edits import halves
from tests.e2e.business import Payments, committing

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def plan(live: Context) -> Plan:
    return plans.read(live.layout.plan_file)


def _named(layout: RowLayout, edit: Edit) -> tuple[str, bytes]:
    """An edit by value: entity, and the packed record, which holds all the rest but the text of its decimals."""
    return edit.entity, layout.encode(edit)


def _from_topic(context: Context, view: View) -> Iterator[Edit]:
    """Every edit that Flink has written, up to the ends of now."""
    consumer = kafka.consumer(context, users.ADMINISTRATOR, "main.test.rebuild", **{"enable.partition.eof": True})
    partitions = consumer.list_topics(view.edits_topic, timeout=10).topics[view.edits_topic].partitions
    consumer.assign([TopicPartition(view.edits_topic, number, 0) for number in partitions])
    left = len(partitions)
    decoder = msgspec.json.Decoder(Edit)
    while left:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is not None:
                left -= 1
            elif (edit := decoder.decode(message.value() or b"")).sign:
                yield edit
    consumer.close()


def test_the_lakes_edits_are_those_that_flink_made(live: Context, plan: Plan) -> None:
    consumer = held.consumer(live)
    for view in plan.views:
        layout, table = RowLayout.of(plan, view), from_lake.captured(plan, view)
        version = held.wait(live, table, consumer, held.ends(table, consumer), 30)
        lake = {_named(layout, edit) for some in from_lake.edits(live, plan, view, version.version) for edit in some}
        deadline = time.monotonic() + 30
        while True:
            flink: set[Any] = {_named(layout, edit) for edit in _from_topic(live, view)}
            if lake <= flink or time.monotonic() > deadline:
                break
        assert lake, f"the lake has no edit of {view.name}"
        assert not lake - flink, f"{len(lake - flink)} edits of {view.name} are in the lake alone"
        again = held.wait(live, table, consumer, held.ends(table, consumer), 30)
        later = {_named(layout, edit) for some in from_lake.edits(live, plan, view, again.version) for edit in some}
        assert not flink - later, f"{len(flink - later)} edits of {view.name} are Flink's alone"
    consumer.close()


class World:
    """What the lake says of a view's entities, and reading them in the stores."""

    def __init__(self, context: Context, plan: Plan, view: View, redis: Any) -> None:
        self.context, self.view, self.redis = context, view, redis
        self.layout = RowLayout.of(plan, view)
        self.reader = ViewReader(view, self.layout, context.names, HBaseHistory.of(context))
        self._plan = plan

    def lake(self) -> dict[str, list[Edit]]:
        """Every entity with its edits, of all that has been captured by now."""
        consumer, table = held.consumer(self.context), from_lake.captured(self._plan, self.view)
        version = held.wait(self.context, table, consumer, held.ends(table, consumer), 60).version
        consumer.close()
        found: dict[str, list[Edit]] = {}
        for some in from_lake.edits(self.context, self._plan, self.view, version):
            for edit in some:
                found.setdefault(edit.entity, []).append(edit)
        return found

    def wait(self) -> str:
        """Wait until Redis has reached what is committed now; the position it then has."""
        began = time.time_ns() // 1000
        deadline = time.monotonic() + 60
        while True:
            reached = reached_positions.read(self.redis, self.context.names, [self.view])[self.view.name]
            if reached is not None and reached.known_at >= began:
                return reached.position
            assert time.monotonic() < deadline, f"Redis stays behind at {reached}"
            time.sleep(0.1)

    def key(self, entity: str) -> str:
        return self.reader.key_prefix + entity

    def values(self, logs: dict[str, bytes | None], cut: str) -> list[Any]:
        """Each entity's values at a cut, as of its own last row then: a list of {feature: (value, status)}."""
        rows = range(len(logs))
        wants = Wants(list(logs), [self.as_of[entity] for entity in logs], [cut] * len(logs))
        found = self.reader.find(wants, Answer.of(list(logs.values())), rows, reached_positions.Reached(cut, 0))
        return [{name: (v.value, v.status) for name, v in found.of(row).items()} for row in rows]

    def expect(self, cut: str) -> None:
        """Note what every read at this cut must give, by the algebra over the lake."""
        edits = {
            entity: [edit for edit in some if halves(edit.position) <= halves(cut)]
            for entity, some in self.lake().items()
        }
        edits = {entity: some for entity, some in edits.items() if some}
        self.as_of = {entity: max(edit.event_time for edit in some) for entity, some in edits.items()}
        logs: dict[str, bytes | None] = {
            entity: EMPTY + b"".join(map(self.layout.encode, some)) for entity, some in edits.items()
        }
        self.cut, self.expected = cut, dict(zip(logs, self.values(logs, cut), strict=True))

    def wrong(self, entities: list[str]) -> list[str]:
        """Entities that Redis answers otherwise than expected, all read at one moment."""
        raw = self.redis.mget([self.key(entity) for entity in entities])
        values = self.values(dict(zip(entities, raw, strict=True)), self.cut)
        return [entity for entity, one in zip(entities, values, strict=True) if one != self.expected[entity]]


@pytest.fixture(scope="module")
def redis(live: Context) -> Iterator[Any]:
    with redis_clients.connect(live, users.ADMINISTRATOR) as client:
        yield client


@pytest.fixture
def world(live: Context, plan: Plan, redis: Any) -> World:
    return World(live, plan, plan.views[0], redis)


class Reading:
    """Reads entities over and over in a thread: nothing else than expected may ever be seen."""

    def __init__(self, world: World, entities: list[str]) -> None:
        self._world, self._entities = world, entities
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.reads, self.wrong = 0, list[str]()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.wrong += self._world.wrong(self._entities)
            self.reads += len(self._entities)

    def __enter__(self) -> Reading:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _damage_redis(world: World, entities: list[str]) -> None:
    """Each entity in its own way; and one entity that nobody has."""
    redis, key = world.redis, world.key
    width = len(world.layout.split(redis.get(key(entities[0]))[HEADER_BYTES:])[0])
    redis.delete(key(entities[0]))
    raw = bytearray(redis.get(key(entities[1])))
    raw[-3] ^= 1  # in the last row's amount
    redis.set(key(entities[1]), bytes(raw))
    redis.set(key(entities[2]), redis.get(key(entities[2]))[:-width])
    redis.set(key(entities[3]), b"rubbish")
    redis.set(key("999999999999"), redis.get(key(entities[4])))


def test_redis_is_filled_again_while_it_is_read_and_written(live: Context, plan: Plan, world: World) -> None:
    with committing(live, Payments(live, seed=41), 30):
        world.expect(world.wait())
        damaged, sound = list(world.expected)[:4], list(world.expected)[4:]
        _damage_redis(world, [*damaged, sound[0]])
        with Reading(world, sound) as reading:
            result = RedisRebuild(live, plan, world.view, world.redis).run()
        assert (result.changed, result.unknown) == (5, 1)
        assert not reading.wrong and reading.reads > len(sound)
        assert not world.wrong(list(world.expected))
        assert not world.redis.exists(world.key("999999999999"))
    world.expect(world.wait())
    assert not world.wrong(list(world.expected)), "what came during and after the rebuild"
    assert not world.redis.hexists(state_key(live.names), rebuild_field(world.view.edits_topic))
    assert not list(world.redis.scan_iter(match=live.names.redis_rebuild_tail("*", "*"), count=1000))


def test_a_rebuild_killed_with_the_writer_is_run_again(live: Context, plan: Plan, world: World) -> None:
    with committing(live, Payments(live, seed=42), 30):
        world.expect(world.wait())
        entities = list(world.expected)
        _damage_redis(world, entities[:5])
        command = [str(live.layout.bin / "appliance"), "rebuild", "redis", world.view.name, "--yes", "--json"]
        field = rebuild_field(world.view.edits_topic)
        with Reading(world, entities[5:]) as reading:
            first = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
            deadline = time.monotonic() + 60
            while not world.redis.hexists(state_key(live.names), field):
                assert time.monotonic() < deadline, "the rebuild does not begin"
                time.sleep(0.01)
            time.sleep(random.Random(time.time_ns()).uniform(0, 2))
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            os.kill(Supervisor(live).states()["writer-redis"].pid, signal.SIGKILL)
            second = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        assert json.loads(second.stdout)["entities"] >= len(entities)
        assert not reading.wrong and reading.reads > 0
        assert not world.wrong(entities)
    world.expect(world.wait())
    assert not world.wrong(list(world.expected))
    assert not list(world.redis.scan_iter(match=live.names.redis_rebuild_tail("*", "*"), count=1000))


def test_hbase_holds_the_lakes_edits_again(live: Context, plan: Plan, world: World) -> None:
    history = HBaseHistory.of(live)
    with hbase.connect(live) as connection, committing(live, Payments(live, seed=43), 30):
        cut = world.wait()
        edits = {entity: [edit for edit in some if edit.position <= cut] for entity, some in world.lake().items()}
        entities = [entity for entity, some in edits.items() if some][:50]
        deadline = time.monotonic() + 60
        while not _same(world, history, cut, edits, entities):
            assert time.monotonic() < deadline, "HBase does not get there by itself"
            time.sleep(0.5)
        table = connection.table(live.names.hbase_table(world.view.name, world.view.version))
        keys = [hbase_table.row_key(entity) for entity in entities]
        victim, other = edits[entities[1]][0], edits[entities[2]][0]
        table.delete(keys[0])
        table.put(keys[1], {hbase_table.column(victim): b'{"sign": 1}'})
        lie = msgspec.structs.replace(other, columns={"tx_amount": "0.01"})
        table.put(keys[2], {hbase_table.column(other): msgspec.json.encode(lie)})
        forged = msgspec.structs.replace(other, row_id="77777777777")
        table.put(keys[2], {hbase_table.column(forged): msgspec.json.encode(forged)})
        table.put(b"no row key", {b"e:abc": b"?"})
        result = HBaseRebuild(live, plan, world.view, cut).run()
        assert result.unknown == 2
        assert result.missing == len(edits[entities[0]]) + 2
        assert result.changed == 3
        assert _same(world, history, cut, edits, entities)
        assert not table.row(b"no row key")


def _same(world: World, history: HBaseHistory, cut: str, edits: dict[str, list[Edit]], entities: list[str]) -> bool:
    """Whether HBase has these edits of the entities, and no others."""
    encode = world.layout.encode
    return all(
        set(map(encode, edits[one])) == set(map(encode, history.edits(world.view, one, cut))) for one in entities
    )


def test_the_writer_of_hbase_takes_a_batch_of_any_size(live: Context, plan: Plan) -> None:
    """More than HBase's Thrift server takes in one call by default (2 MiB), in many cells and in one."""
    view, name = plan.views[0], f"{live.names.tenant}:test_large_batch"
    session = HBaseSession.__new__(HBaseSession)
    with hbase.connect(live) as connection:
        hbase.create_table(connection, name, hbase_table.OPTIONS)
        try:
            session._tables = {view.edits_topic: connection.table(name)}
            edits = [Edit(1, f"{n:032x}", n, str(n % 700), str(n), n) for n in range(12_000)]
            edits.append(Edit(1, f"{1:032x}", 1, "large", "1", 1, columns={"note": "x" * 6 * 2**20}))
            session._put([Received(view, _Record(msgspec.json.encode(edit)), edit) for edit in edits])
            stored = dict(connection.table(name).scan())
            assert sum(map(len, stored.values())) == len(edits)
            assert len(next(iter(stored[hbase_table.row_key("large")].values()))) > 6 * 2**20
        finally:
            connection.delete_table(name, disable=True)


class _Record:
    """What the writer asks of a Kafka record."""

    def __init__(self, value: bytes) -> None:
        self._value = value

    def value(self) -> bytes:
        return self._value
