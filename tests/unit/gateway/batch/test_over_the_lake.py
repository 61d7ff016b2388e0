"""Rows of a captured table, with the features they had: DuckDB over Delta tables through Feast, without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureStore, Field, FileSource, KafkaSource, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat, JsonFormat
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64, String

from appliance import context as contexts
from appliance.errors import ApplianceError, UsageError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from gateway.batch import features, intake, job
from gateway.batch.rows import Reader
from gateway.errors import BatchError
from stream_jobs import plan as plans
from stream_jobs.lake import reach, sink, state_at
from stream_jobs.lake.reach import Reached
from stream_jobs.plan import Column, Plan, Policy, Service, View, WindowFeature
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

DAY = timedelta(days=1)
NOON = datetime(2018, 4, 3, 12, tzinfo=UTC)
VIEW = View(
    "owners", 1, "bank", TABLE.table, TABLE.topic, "e", "owner", ("name",), "id", "opened",
    (Column("balance", "decimal", 2),),
    (WindowFeature("count_2d", "count", None, 2 * 86_400_000_000),
     WindowFeature("balance_2d", "mean", "balance", 2 * 86_400_000_000)), "", "d",
)  # fmt: skip
SERVICE = Service(
    "accounts", "bank", TABLE.table, TABLE.topic, "id", "opened",
    (Column("id", "int64"), Column("opened", "timestamp_us"), Column("name", "string"),
     Column("balance", "decimal", 2)),
    ("owners",), ("owners",), (), ("owners:balance_2d", "owners:count_2d"), "accounts",
    Policy(0.5, 0.9, 1, "tests.unit.gateway.example:explain"), "h",
)  # fmt: skip
PLAN = Plan("test", (TABLE,), (VIEW,), (SERVICE,))


def _at(offset: int) -> str:
    return f"{1000 + offset:016x}{2000 + offset:016x}"


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    """Four accounts of zoë, six hours apart until noon; the second is worth more later and the third is closed."""
    layout = Layout.below(tmp_path)
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    layout.etc.mkdir()
    layout.installation_file.write_bytes(msgspec.json.encode(Installation("0", 1, "root", "main", "test", "", {}, {})))
    plans.write(PLAN, layout.plan_file)
    found = contexts.current()
    into = sink.of_table(TABLE, PLAN, found.names, layout.lake)
    rows = [row(n, opened=(NOON - (3 - n) * DAY / 4).isoformat(), balance=f"{n + 1}.00") for n in range(4)]
    updated = rows[1] | {"balance": "20.00"}
    into.add([
        *(change("c", n, each) for n, each in enumerate(rows)),
        change("u", 4, updated, rows[1]), change("d", 5, None, rows[2]),
    ])  # fmt: skip
    into.flush()
    reach.write(state_at.changes_path(found, TABLE), Reached(_at(5), 2_000_000_000_000_000, {0: 6}))
    return found


@pytest.fixture
def store(context: Context, tmp_path: Path) -> FeatureStore:
    name = Entity(name="owner", join_keys=["name"], value_type=ValueType.STRING)
    changes = FileSource(
        name="changes", path=str(context.layout.lake / context.names.lake_changes("bank", TABLE.table)),
        file_format=DeltaFormat(), timestamp_field="opened",
    )  # fmt: skip
    source = KafkaSource(
        name="accounts", timestamp_field="opened", message_format=JsonFormat(schema_json="id int"), topic=TABLE.topic,
        batch_source=changes,
    )  # fmt: skip
    view = StreamFeatureView(
        name="owners", entities=[name], source=source, timestamp_field="opened", ttl=DAY,
        schema=[Field(name="name", dtype=String), Field(name="count_2d", dtype=Int64),
                Field(name="balance_2d", dtype=Float64)],
        aggregations=[Aggregation(column="*", function="count", time_window=2 * DAY, name="count_2d"),
                      Aggregation(column="balance", function="mean", time_window=2 * DAY, name="balance_2d")],
    )  # fmt: skip
    made = FeatureStore(
        config=RepoConfig(
            project="test", provider="local", registry=str(tmp_path / "registry.db"),
            offline_store={"type": "stream_jobs.offline.store.ApplianceOfflineStore", "memory_mib": 256, "threads": 1},
            online_store={"type": "sqlite", "path": str(tmp_path / "online.db")}, entity_key_serialization_version=3,
        )
    )  # fmt: skip
    made.apply([name, source, view])
    return made


def _answers(
    context: Context, store: FeatureStore, source: str, as_of: str = "latest", where: str = ""
) -> dict[str, tuple[float, int]]:
    """Event key → (mean balance, count)."""
    place = job.folder(context, "result")
    place.mkdir(parents=True, exist_ok=True)
    position = intake.cut(context, PLAN, SERVICE, source, as_of)
    intake.stage(context, PLAN, SERVICE, source, position, where, "", job.input_file(place))
    rows, rejects = Reader(PLAN, SERVICE, position, 0).read(pq.read_table(job.input_file(place)))
    assert not rejects
    found = features.historical(store, PLAN, SERVICE, rows, in_hand=intake.is_file(source))
    inputs = features.matrix(SERVICE, rows, found)
    return {each.event_key: (float(mean), int(count)) for each, (mean, count) in zip(rows, inputs, strict=True)}


def test_each_row_of_a_table_has_the_features_of_its_own_position(context: Context, store: FeatureStore) -> None:
    assert _answers(context, store, "public.accounts") == {
        "0": (1.0, 1), "1": (10.5, 2), "3": ((1 + 2 + 3 + 4) / 4, 4)
    }  # fmt: skip
    assert _answers(context, store, "accounts", _at(2), "balance > 1.5") == {"1": (1.5, 2), "2": (2.0, 3)}


def test_rows_of_a_file_are_as_if_asked_now_with_their_own_values(
    context: Context, store: FeatureStore, tmp_path: Path
) -> None:
    path = tmp_path / "accounts.parquet"
    opened = pa.array([NOON, NOON + timedelta(seconds=1)], pa.timestamp("us", tz="UTC"))
    columns = {"id": [1, 77], "opened": opened, "name": ["zoë", "zoë"], "balance": ["100.00", "200.00"], "more": [1, 2]}
    pq.write_table(pa.table(columns), path)
    assert _answers(context, store, str(path)) == {
        "1": ((1 + 100 + 4) / 3, 3), "77": ((1 + 20 + 4 + 200) / 4, 4)
    }, "the stored row 1 gives way to the one in hand"  # fmt: skip


def test_a_cut_that_the_lake_has_not_reached_and_tables_without_the_columns_are_refused(context: Context) -> None:
    with pytest.raises(ApplianceError, match="not reached"):
        intake.cut(context, PLAN, SERVICE, "accounts", _at(6))
    with pytest.raises(UsageError, match="no captured table"):
        intake.cut(context, PLAN, SERVICE, "nothing", "latest")
    other = msgspec.structs.replace(SERVICE, row=(*SERVICE.row, Column("limit", "int64")))
    with pytest.raises(UsageError, match="lacks \\['limit'\\]"):
        intake.table(PLAN, other, "accounts")
    with pytest.raises(BatchError, match="being filled"):
        features.check_versions(msgspec.structs.replace(PLAN, coming=(VIEW,)), SERVICE)
