"""A small business whose rows are inserted, changed, moved, deleted and truncated, and whose payments are scored.

Everything between its changes and a certificate is the product's code: packed Redis logs, HBase's cells and their scan
(over a table in memory), Delta tables of changes and predictions, the online reader, Feast's join in DuckDB. A mutant
changes one of these paths.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from feast import Entity, FeatureService, FeatureStore, Field, FileSource, KafkaSource, RequestSource, ValueType
from feast import StreamFeatureView as FeastView
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat, JsonFormat
from feast.on_demand_feature_view import on_demand_feature_view
from feast.repo_config import RepoConfig
from feast.types import Array, Float64, Int64

from appliance import position as positions
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import ChangeSource, Edit, FeatureValue, Prediction, Value
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs import plan as plans
from stream_jobs.lake import sink
from stream_jobs.lake.records import Raw
from stream_jobs.online import hbase_table
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.edits_topic import Batch, Received
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.packed import EMPTY
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.online.redis_log import RedisLog
from stream_jobs.parity import requested
from stream_jobs.parity.certificate import Certificate
from stream_jobs.parity.ledger import Selection
from stream_jobs.parity.run import Legs, prove
from stream_jobs.parity.training import of_feast
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, RequestFeature, Service, View, WindowFeature

NAMES = Names("main")
MINUTE = 60_000_000
HOUR = 60 * MINUTE
START = 1_540_000_000_000_000
COMMITTED = 1_763_900_000_000_000
STEPS = 110

PAYMENTS = CapturedTable(
    "bank", "public.payments", NAMES.cdc("bank", "public.payments"), ("id",),
    (
        Column("id", "int64"), Column("at", "timestamp_us"), Column("card", "int64"), Column("amount", "decimal", 2),
        Column("points", "int64"), Column("online", "bool"),
    ),
    "at", True,
)  # fmt: skip
LABELS = CapturedTable(
    "bank", "public.labels", NAMES.cdc("bank", "public.labels"), ("id",),
    (Column("id", "int64"), Column("at", "timestamp_us"), Column("card", "int64"), Column("fraud", "int64")),
    "at", True,
)  # fmt: skip
CARD_PAYMENTS = View(
    "card_payments", 2, "bank", PAYMENTS.table, PAYMENTS.topic, NAMES.edits("card_payments", 2), "card", ("card",),
    "id", "at", PAYMENTS.columns[3:],
    (
        WindowFeature("rows", "count", None, 4 * HOUR),
        WindowFeature("rows_short", "count", None, 30 * MINUTE),
        WindowFeature("online_rows", "count", None, 4 * HOUR, where="online"),
        WindowFeature("total", "sum", "amount", 4 * HOUR),
        WindowFeature("mean", "mean", "amount", 4 * HOUR),
        WindowFeature("spread", "std", "amount", 4 * HOUR),
        WindowFeature("low", "min", "amount", 2 * HOUR),
        WindowFeature("high", "max", "amount", 2 * HOUR),
        WindowFeature("kinds", "count_distinct", "points", 4 * HOUR),
        WindowFeature("oldest", "first", "amount", 2 * HOUR),
        WindowFeature("newest", "last", "points", 2 * HOUR),
        WindowFeature("last_two", "last_n", "points", 4 * HOUR, n=2),
    ),
    "", "payments-2",
)  # fmt: skip
CARD_LABELS = View(
    "card_labels", 1, "bank", LABELS.table, LABELS.topic, NAMES.edits("card_labels", 1), "card", ("card",), "id", "at",
    LABELS.columns[3:],
    (
        WindowFeature("labels", "count", None, 4 * HOUR),
        WindowFeature("fraud_rate", "mean", "fraud", HOUR, default=0.5),
    ),
    "", "labels-1",
)  # fmt: skip
VIEWS = (CARD_PAYMENTS, CARD_LABELS)
SERVICE = Service(
    "fraud", "bank", PAYMENTS.table, PAYMENTS.topic, "id", "at", PAYMENTS.columns, ("card_payments", "card_labels"),
    ("card_payments",), (RequestFeature("asked", "tests.unit.stream_jobs.parity.business:asked"),),
    ("request:asked", *(f"{view.name}:{feature.name}" for view in VIEWS for feature in view.features)),
    "model", Policy(0.5, 0.9, 1, ""), "service",
)  # fmt: skip
PLAN = Plan("test", (PAYMENTS, LABELS), VIEWS, (SERVICE,))

Row = dict[str, Any]


def asked(row: Any) -> float:
    """The request feature."""
    return float(row["amount"])


@dataclass(frozen=True)
class Commit:
    """One change. step: it is the step-th, and its position grows with it."""

    step: int
    table: str
    op: str
    before: Row | None
    after: Row | None


@dataclass(frozen=True)
class Scored:
    """A row scored after ``step`` was written to the stores, when they claimed to have reached ``reached``."""

    way: str
    row: Row
    step: int
    reached: int


def position(step: int) -> str:
    """Of a step; those below 0 are the snapshot's, which share one."""
    return positions.of(_source(step))


def _source(step: int) -> ChangeSource:
    if step < 0:
        return ChangeSource(sequence='[null,"900"]', ts_us=COMMITTED, snapshot="true")
    return ChangeSource(sequence=f'["{1000 + step}","{2000 + step}"]', ts_us=COMMITTED + step * MINUTE)


@dataclass
class History:
    commits: list[Commit]
    scored: list[Scored]


def history(seed: int = 4) -> History:
    """What happens, the same for a seed."""
    chance = random.Random(seed)
    rows: dict[int, Row] = {}
    commits, scored = [], []
    ids = iter(range(1, 10_000))

    def payment(at: int) -> Row:
        return {
            "id": next(ids), "at": at + chance.randint(0, 1), "card": chance.randint(1, 3),
            "points": chance.choice([None, 1, 2, 3]), "online": chance.random() < 0.5,
            "amount": f"{chance.randint(1, 300_000_000) / 100:.2f}",
        }  # fmt: skip

    for step in range(-12, 0):
        row = payment(START - (12 + step) * 5 * MINUTE)
        rows[row["id"]] = row
        commits.append(Commit(step, PAYMENTS.table, "r", None, row))
    for step in range(STEPS):
        now = START + step * 4 * MINUTE
        if step == 45:
            commits.append(Commit(step, PAYMENTS.table, "t", None, None))
            rows.clear()
            continue
        choice = chance.random()
        known = rows[chance.choice(sorted(rows))] if rows else None
        if choice < 0.15:
            label = {"id": next(ids), "at": now, "card": chance.randint(1, 3), "fraud": chance.randint(0, 1)}
            commits.append(Commit(step, LABELS.table, "c", None, label))
        elif choice < 0.24 and known:
            commits.append(Commit(step, PAYMENTS.table, "d", rows.pop(known["id"]), None))
        elif choice < 0.5 and known:
            change: Row = chance.choice(
                [{"amount": f"{chance.randint(1, 9999) / 100:.2f}"}, {"card": known["card"] % 3 + 1},
                 {"at": now - chance.randint(0, 3) * HOUR}]
            )  # fmt: skip
            rows[known["id"]] = known | change
            commits.append(Commit(step, PAYMENTS.table, "u", known, rows[known["id"]]))
        else:
            row = payment(known["at"] if known and chance.random() < 0.2 else now - chance.choice([0, 0, 7]) * MINUTE)
            rows[row["id"]] = row
            commits.append(Commit(step, PAYMENTS.table, "c", None, row))
            if chance.random() < 0.3:
                scored.append(Scored("kafka", row, step - 1, step - 1))
            scored.append(Scored("cdc", row, step, step if chance.random() < 0.8 else step - 2))
            if chance.random() < 0.3:
                scored.append(Scored("http", row | {"amount": "77.77"}, step, step))
        if chance.random() < 0.6 and step > 4:
            scored.append(Scored("http", payment(now), step, step - chance.choice([0, 3])))
    return History(commits, scored)


def edits(commits: Sequence[Commit], view: View) -> list[tuple[int, Edit]]:
    """The edits of a view, each with its step: what Flink makes of the changes."""
    found: list[tuple[int, Edit]] = []
    live: dict[Any, Row] = {}
    for commit in commits:
        if commit.table != view.table:
            continue
        gone = list(live.values()) if commit.op == "t" else [commit.before] if commit.before else []
        for row in gone:
            found.append((commit.step, _edit(view, commit, -1, row)))
            live.pop(row["id"])
        if commit.after:
            live[commit.after["id"]] = commit.after
            found.append((commit.step, _edit(view, commit, 1, commit.after)))
    return found


def _edit(view: View, commit: Commit, sign: Any, row: Row) -> Edit:
    assumed = commit.op == "r"
    known_at = row["at"] if assumed else COMMITTED + commit.step * MINUTE
    columns: dict[str, Value] = {column.name: row[column.name] for column in view.columns}
    return Edit(sign, position(commit.step), known_at, str(row["card"]), str(row["id"]), row["at"], assumed, columns)


class MemoryTable:
    """As much of happybase's Table as writing cells and scanning rows needs."""

    def __init__(self) -> None:
        self.rows: dict[bytes, dict[bytes, bytes]] = {}

    def scan(
        self, row_start: bytes, row_stop: bytes, batch_size: int, scan_batching: int
    ) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
        keys = sorted(self.rows)
        for key in keys[bisect_left(keys, row_start) :]:
            if key >= row_stop:
                return
            cells = sorted(self.rows[key].items())
            for begin in range(0, len(cells), scan_batching):
                yield key, dict(cells[begin : begin + scan_batching])


class _Message:
    def partition(self) -> int:
        return 0


EditChange = Callable[[list[tuple[int, Edit]]], list[tuple[int, Edit]]]
CommitChange = Callable[[list[Commit]], list[Commit]]


@dataclass
class Paths:
    """How each path is changed; nothing by default.

    redis, hbase: the edits of ``card_payments`` as their writer writes them. lake: the changes as the lake's writer
    gets them. online, offline: the plan that the online reader, or Feast's offline store, has. claimed: how many steps
    Redis claims to be further than it is. cut_ignored: the reader takes everything there is. in_hand: the row
    that the reader gets. entity_log: what becomes
    of an entity's packed log. logged: what becomes of a value on its way into the ledger.
    """

    redis: EditChange = field(default=list)
    hbase: EditChange = field(default=list)
    lake: CommitChange = field(default=list)
    online: Plan = PLAN
    offline: Plan = PLAN
    claimed: int = 0
    cut_ignored: bool = False
    in_hand: Callable[[Row], Row] = dict
    entity_log: Callable[[bytes], bytes] = bytes
    logged: Callable[[str, Any], Any] = lambda name, value: value
    definition_hash: str = SERVICE.definition_hash


class World:
    """Everything that one run of the business leaves behind, below ``home``."""

    def __init__(self, home: Path, paths: Paths, happened: History) -> None:
        installation = Installation("0", 1, "root", "main", "test", "", {}, {})
        self.context = Context(Layout.below(home), installation, Settings(), Secrets(home / "secrets"))
        self.context.layout.etc.mkdir(parents=True)
        self.context.layout.installation_file.write_bytes(msgspec.json.encode(installation))
        self._paths, self._happened = paths, happened
        plans.write(paths.offline, self.context.layout.plan_file)
        self._write_lake()
        self.tables = {view.name: MemoryTable() for view in VIEWS}
        self._write_hbase()
        self._write_ledger()

    def _changed(self, change: EditChange, view: View) -> list[tuple[int, Edit]]:
        made = edits(self._happened.commits, view)
        return change(made) if view is CARD_PAYMENTS else made

    def _write_lake(self) -> None:
        for table in PLAN.tables:
            into = sink.of_table(table, PLAN, NAMES, self.context.layout.lake)
            commits = [each for each in self._paths.lake(self._happened.commits) if each.table == table.table]
            into.add([_record(table, offset, commit) for offset, commit in enumerate(commits)])
            into.flush()

    def _write_hbase(self) -> None:
        for view in VIEWS:
            rows = self.tables[view.name].rows
            for _, edit in self._changed(self._paths.hbase, view):
                cells = rows.setdefault(hbase_table.row_key(edit.entity), {})
                cells[hbase_table.column(edit)] = msgspec.json.encode(edit)

    def _write_ledger(self) -> None:
        into = sink.of_service(SERVICE, NAMES, self.context.layout.lake)
        by_step = sorted(range(len(self._happened.scored)), key=lambda n: self._happened.scored[n].step)
        waiting = {view.name: self._changed(self._paths.redis, view) for view in VIEWS}
        stored: dict[str, bytes] = {}
        predictions = []
        for number in by_step:
            scored = self._happened.scored[number]
            for view in self._paths.online.views:
                due = [edit for step, edit in waiting[view.name] if step <= scored.step]
                waiting[view.name] = [one for one in waiting[view.name] if one[0] > scored.step]
                self._write_redis(stored, view, due)
            predictions.append(self._prediction(number, scored, stored))
        topic = NAMES.predictions(SERVICE.name)
        into.add([Raw(topic, 0, offset, msgspec.json.encode(each)) for offset, each in enumerate(predictions)])
        into.flush()

    def _write_redis(self, stored: dict[str, bytes], view: View, due: Sequence[Edit]) -> None:
        """As the writer does: the packed records are appended."""
        received = [Received(view, _Message(), edit) for edit in due]  # type: ignore[arg-type]
        packed = RedisLog(None, NAMES, self._paths.online).pack(Batch(received))
        assert not packed.unusable, packed.unusable[0].error
        for entity, records in packed.logs.get(view.edits_topic, {}).items():
            key = NAMES.redis_edits(view.name, view.version, entity)
            stored[key] = stored.get(key, EMPTY) + b"".join(records)

    def _prediction(self, number: int, scored: Scored, stored: dict[str, bytes]) -> Prediction:
        row, own = scored.row, position(scored.step) if scored.way == "cdc" else None
        lookup = OnlineReader(None, NAMES, self._paths.online).lookup(
            self._paths.online.service(SERVICE.name), [RowInHand(row["at"], self._paths.in_hand(row), own)]
        )
        claimed = position(scored.reached + self._paths.claimed)
        read_at = positions.LAST if self._paths.cut_ignored else claimed
        reached = {reached_positions.key(NAMES, view): read_at for view in self._paths.online.views}
        (vector,) = lookup.vectors(
            [
                reached_positions.encode(Reached(reached[key], COMMITTED))
                if key in reached
                else self._paths.entity_log(stored[key])
                if key in stored
                else None
                for key in lookup.keys
            ]
        )
        cuts = dict.fromkeys(vector.cuts, claimed if own is None else min(claimed, own))
        features = {
            name: msgspec.structs.replace(one, value=self._paths.logged(name, one.value))
            for name, one in (vector.features | {"request:asked": FeatureValue(asked(row), "present")}).items()
        }
        return Prediction(
            f"0193{number:08x}-0000-7000-8000-000000000000", "main", SERVICE.name, scored.way,  # type: ignore[arg-type]
            str(row["id"]), own or "", "", "", row["at"], row, features, cuts, vector.reached, vector.behind, 0.1,
            "approve", "", "", "model", "1", self._paths.definition_hash, 0, COMMITTED + number, {},
        )  # fmt: skip

    def history(self) -> HBaseHistory:
        tables = {NAMES.hbase_table(view.name, view.version): self.tables[view.name] for view in VIEWS}

        class Connection:
            def table(self, name: str) -> MemoryTable:
                return tables[name]

        return HBaseHistory(Connection, NAMES)

    def certificates(self, store: FeatureStore, selection: Selection | None = None) -> dict[str, Certificate]:
        """View → certificate of all predictions."""
        legs = Legs(self.history(), of_feast(store), partial(requested.by_feast, store), lambda view, cut: None)
        chosen = selection or Selection(None, 0, 0, 2**62)
        made = prove(self.context, PLAN, SERVICE, chosen, legs, "appliance parity fraud --all", lambda line: None)
        return {each.view: each for each in made}


def _record(table: CapturedTable, offset: int, commit: Commit) -> Raw:
    source = msgspec.to_builtins(_source(commit.step))

    def image(row: Row | None) -> Row | None:
        return None if row is None else {column.name: row[column.name] for column in table.columns}

    value = {"op": commit.op, "source": source, "before": image(commit.before), "after": image(commit.after)}
    return Raw(table.topic, 0, offset, json.dumps(value).encode())


def feast_store(folder: Path, lake: Path) -> FeatureStore:
    """Feast's store with the objects of the plan, over the appliance's offline store."""
    store = FeatureStore(
        config=RepoConfig(
            project="test",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "stream_jobs.offline.store.ApplianceOfflineStore", "memory_mib": 256, "threads": 1},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
    views = [_feast_view(view, card, lake) for view in VIEWS]
    request = RequestSource(name="payment", schema=[Field(name="amount", dtype=Float64)])

    @on_demand_feature_view(  # type: ignore[untyped-decorator]
        sources=[request], schema=[Field(name="asked", dtype=Float64)], mode="python", name="payment_request"
    )
    def payment_request(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        return {"asked": [float(amount) for amount in inputs["amount"]]}

    store.apply([card, *views, payment_request, FeatureService(name="fraud", features=[payment_request, *views])])
    return store


def _feast_view(view: View, entity: Entity, lake: Path) -> FeastView:
    changes = FileSource(
        name=f"{view.name}_changes", path=str(lake / NAMES.lake_changes(view.source, view.table)),
        file_format=DeltaFormat(), timestamp_field="at",
    )  # fmt: skip
    source = KafkaSource(
        name=view.table.partition(".")[2], timestamp_field="at", message_format=JsonFormat(schema_json="id int"),
        topic=view.source_topic, batch_source=changes,
    )  # fmt: skip
    types = {"last_n": Array(Int64), "count": Int64}
    return FeastView(
        name=view.name, entities=[entity], source=source, timestamp_field="at",
        schema=[Field(name="card", dtype=Int64),
                *(Field(name=each.name, dtype=types.get(each.function, Float64)) for each in view.features)],
        aggregations=[Aggregation(column=each.column or "*", function=each.function, name=each.name)
                      for each in view.features],
    )  # fmt: skip
