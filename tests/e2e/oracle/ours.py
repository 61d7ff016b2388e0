"""The appliance's side of the oracle run: definitions and source as their authors give them, and its stores."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import psycopg
from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import kafka, postgres, redis
from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from stream_jobs.lake import reading
from stream_jobs.online import hbase_table
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.reader import SEPARATOR, OnlineReader
from stream_jobs.plan import Plan, View
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import batch
from stream_jobs.windows.fold import fold
from tests.e2e.oracle.oracle import VIEWS, Question

PREFIX = "oracle_"
"""Of every name that a run gives: database, source, roles, views, and so topics and keys."""

_BEGIN = "\n# --- the views of the oracle run, from here to the end of the file ---\n"
_AT_ONCE = 200
_SHOWN_EDITS = 60
_LONGEST_US = 7 * 86_400_000_000


@dataclass(frozen=True)
class Side:
    """One run's part of an appliance. name: begins with ``PREFIX``, new in each run, so that no store knows it yet."""

    context: Context
    name: str

    @property
    def address(self) -> str:
        """Of the business database, as its administrator; holds the password."""
        return (
            f"host=127.0.0.1 port={self.context.port(Port.SAMPLE_DB)} dbname={self.name} user=postgres"
            f" password={self.context.secrets.get('sampledb.postgres')}"
        )

    @property
    def plan(self) -> Plan:
        return plans.read(self.context.layout.plan_file)

    def view(self, plan: Plan, of: str) -> View:
        """of: the question's view."""
        return plan.view(f"{self.name}_{of}")

    def views(self, plan: Plan) -> list[View]:
        return [self.view(plan, of) for of in VIEWS]


def new(context: Context) -> Side:
    return Side(context, f"{PREFIX}{secrets.token_hex(3)}")


def command(context: Context, *words: str) -> Any:
    """What `appliance WORDS --json` prints. Raises AssertionError with what it said when it fails."""
    done = subprocess.run(
        [context.layout.bin / "appliance", *words, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"appliance {' '.join(words)}: {done.stdout}\n{done.stderr}"
    return json.loads(done.stdout)


def create_database(side: Side) -> None:
    """An empty business database beside the sample's."""
    with postgres.sample(side.context, role="postgres") as connection:
        connection.execute(f"CREATE DATABASE {side.name}".encode())


def _features_file(context: Context) -> Path:
    return context.layout.code / "feature_repo" / context.installation.scenario / "features.py"


def add_views(side: Side) -> None:
    """Write the views into the scenario, as its author does, and apply them."""
    path = _features_file(side.context)
    text = path.read_text().partition(_BEGIN)[0]
    views = Path(__file__).with_name("scenario.py").read_text().replace(PREFIX, f"{side.name}_")
    path.write_text(text + _BEGIN + views.replace('source="oracle"', f'source="{side.name}"'))
    command(side.context, "features", "apply")


def add_source(side: Side) -> None:
    """The administrator's SQL, then the source."""
    where = f"postgresql://{side.name}_cdc@127.0.0.1:{side.context.port(Port.SAMPLE_DB)}/{side.name}"
    script = command(side.context, "source", "add", side.name, "--url", where, "--print-sql")["sql"]
    with psycopg.connect(side.address, autocommit=True) as administrator:
        administrator.execute(script.encode())
    command(side.context, "source", "add", side.name, "--url", where)


def clear(context: Context) -> None:
    """Take away what runs have left: sources, views, databases, roles, and topics that nothing reads any more."""
    path = _features_file(context)
    for source in command(context, "source", "list"):
        if source["name"].startswith(PREFIX):
            command(context, "source", "remove", source["name"])
    if _BEGIN in (text := path.read_text()):
        path.write_text(text.partition(_BEGIN)[0])
    if any(view.name.startswith(PREFIX) for view in plans.read(context.layout.plan_file).views):
        command(context, "features", "apply")
    with postgres.sample(context, role="postgres") as connection:
        left = connection.execute(b"SELECT datname FROM pg_database WHERE datname LIKE 'oracle\\_%'").fetchall()
        for (database,) in left:
            slots = b"SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s"
            connection.execute(slots, (database,))
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())
            connection.execute(f"DROP ROLE IF EXISTS {database}_cdc".encode())
    kept = {view.source for view in plans.read(context.layout.plan_file).computed}
    admin = kafka.admin(context)
    topics = [topic for topic in admin.list_topics(timeout=10).topics if f".{PREFIX}" in topic]
    if topics and not any(source.startswith(PREFIX) for source in kept):  # jobs of versions that are kept still read
        admin.delete_topics(topics)


def reached(context: Context, store: Any, wanted: Sequence[View]) -> str:
    """The lowest position that the views have reached in Redis; "" before the first marker came through."""
    found = reached_positions.read(store, context.names, wanted).values()
    return min(one.position if one else "" for one in found)


def until(there: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait; returns the seconds it took. Raises AssertionError."""
    began = time.monotonic()
    while not there():
        assert time.monotonic() - began < seconds, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.2)
    return time.monotonic() - began


def wait_hbase(context: Context, wanted: Sequence[View], seconds: float) -> float:
    """Until ``writer-hbase`` has told Kafka that it wrote what the edits topics hold now."""
    watcher = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.appliance.{secrets.token_hex(4)}")
    group = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.writer-hbase")
    try:
        places = []
        for view in wanted:
            for number in watcher.list_topics(view.edits_topic, timeout=10).topics[view.edits_topic].partitions:
                place = TopicPartition(view.edits_topic, number)
                places.append(TopicPartition(view.edits_topic, number, watcher.get_watermark_offsets(place, 10)[1]))

        def written() -> bool:
            told = group.committed([TopicPartition(p.topic, p.partition) for p in places], timeout=10)
            return all(have.offset >= want.offset for have, want in zip(told, places, strict=True))

        return until(written, "HBase has every edit", seconds)
    finally:
        watcher.close()
        group.close()


def wait_lake(side: Side, plan: Plan, positions: dict[str, str], seconds: float) -> float:
    """Until the lake's change tables hold these positions (table → its last change's)."""

    def newest(table: str) -> str:
        captured = next(each for each in plan.tables if (each.source, each.table) == (side.name, table))
        with reading.connect(side.context.run("oracle-scratch")) as connection:
            reading.changes(side.context, connection, captured).create_view("changes")
            found = connection.execute("SELECT max(position) FROM changes").fetchone()
        return str(found[0]) if found and found[0] is not None else ""

    return until(lambda: all(newest(t) >= p for t, p in positions.items()), "the lake has every change", seconds)


def from_redis(side: Side, plan: Plan, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Each question as a live read answers it now: at the position reached, which must not be before the question's."""
    store = redis.connect(side.context, users.ADMINISTRATOR)
    reader = OnlineReader(store, side.context.names, plan, HBaseHistory.of(side.context))
    found: dict[int, dict[str, Any]] = {}
    for (of, as_of), numbers in _grouped(questions).items():
        name = side.view(plan, of).name
        for some in _chunks(numbers):
            reached_, values = reader.values_of({name: [SEPARATOR.join(questions[n].keys) for n in some]}, as_of)[name]
            assert reached_ is not None and reached_.position >= questions[some[0]].cut
            for number, value in zip(some, values, strict=True):
                found[number] = {name: one.value for name, one in value.items()}
    return [found[number] for number in range(len(questions))]


def from_hbase(side: Side, plan: Plan, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Each question from every edit in HBase up to the cut, which is one for all of them."""
    history = HBaseHistory.of(side.context)
    (cut,) = {each.cut for each in questions}
    numbers = {(each.view, SEPARATOR.join(each.keys), each.as_of): n for n, each in enumerate(questions)}
    found: dict[int, dict[str, Any]] = {}
    for of in VIEWS:
        view = side.view(plan, of)
        windows, integer = Windows(view.columns, view.features), RowLayout.of(plan, view).integer_ids
        moments = sorted({each.as_of for each in questions if each.view == of})
        asked = {SEPARATOR.join(each.keys) for each in questions if each.view == of}
        for some in _chunks(sorted(asked, key=hbase_table.row_key)):
            edits = dict(history.scan(view, some))
            logs = [[edit for edit in edits.get(entity, ()) if edit.position <= cut] for entity in some]
            packed = batch(view.columns, [edit for log in logs for edit in log], integer)
            group = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
            live = fold(packed, group, np.ones(len(packed), np.bool_))
            for at in moments:
                columns = assemble(windows, packed, group, live, np.full(len(some), at, np.int64))
                for place, entity in enumerate(some):
                    if (number := numbers.get((of, entity, at))) is not None:
                        found[number] = {feature: values[place] for feature, values in columns.items()}
    return [found[number] for number in range(len(questions))]


def from_lake(side: Side, plan: Plan, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Each question from Feast's historical features at its position."""
    store = feature_store(side.context)
    found: dict[int, dict[str, Any]] = {}
    for of in VIEWS:
        view = side.view(plan, of)
        numbers = [n for n, each in enumerate(questions) if each.view == of]
        if not numbers:
            continue
        frame = pd.DataFrame(
            {
                **{key: [questions[n].keys[place] for n in numbers] for place, key in enumerate(view.join_keys)},
                "event_timestamp": pd.to_datetime([questions[n].as_of for n in numbers], unit="us", utc=True),
                "position": [questions[n].cut for n in numbers],
            }
        )
        for column in frame.columns.intersection(["customer", "visitor"]):
            frame[column] = frame[column].astype("int64")
        features = [f"{view.name}:{feature.name}" for feature in view.features]
        rows = store.get_historical_features(frame, features).to_arrow().to_pylist()
        for number, row in zip(numbers, rows, strict=True):
            found[number] = {feature.name: row[feature.name] for feature in view.features}
    return [found[number] for number in range(len(questions))]


def from_feast_online(side: Side, plan: Plan, questions: Sequence[Question]) -> list[dict[str, Any]]:
    """Each question from Feast's online store; the appliance clock must stand at their one as-of time."""
    store = feature_store(side.context)
    found: dict[int, dict[str, Any]] = {}
    for of in VIEWS:
        view = side.view(plan, of)
        numbers = [n for n, each in enumerate(questions) if each.view == of]
        for some in _chunks(numbers):
            rows = [
                {
                    key: int(value) if key in ("customer", "visitor") else value
                    for key, value in zip(view.join_keys, questions[n].keys, strict=True)
                }
                for n in some
            ]
            features = [f"{view.name}:{feature.name}" for feature in view.features]
            answer = store.get_online_features(features=features, entity_rows=rows).to_dict()
            for place, number in enumerate(some):
                found[number] = {feature.name: answer[feature.name][place] for feature in view.features}
    return [found[number] for number in range(len(questions))]


def _grouped(questions: Sequence[Question]) -> dict[tuple[str, int], list[int]]:
    groups: dict[tuple[str, int], list[int]] = {}
    for number, each in enumerate(questions):
        groups.setdefault((each.view, each.as_of), []).append(number)
    return groups


def _chunks(items: list[Any]) -> Iterator[list[Any]]:
    for first in range(0, len(items), _AT_ONCE):
        yield items[first : first + _AT_ONCE]


def explained(side: Side, plan: Plan, question: Question) -> dict[str, Any]:
    """What a person needs to see why a value differs: the newest edits in HBase of the rows that could be counted."""
    edits = HBaseHistory.of(side.context).edits(
        side.view(plan, question.view), SEPARATOR.join(question.keys), question.cut
    )
    near = [edit for edit in edits if question.as_of - _LONGEST_US < edit.event_time <= question.as_of]
    near.sort(key=lambda edit: edit.position)
    return {"edits": [msgspec.to_builtins(edit) for edit in near[-_SHOWN_EDITS:]], "edits_in_window": len(near)}
