"""Feast's own FeatureStore over the offline store: a windowed view from the lake, a plain view from Delta files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from feast import (
    Entity,
    FeatureStore,
    FeatureView,
    Field,
    FileSource,
    KafkaSource,
    PushSource,
    StreamFeatureView,
    ValueType,
)
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat, JsonFormat
from feast.infra.offline_stores.file_source import FileLoggingDestination, SavedDatasetFileStorage
from feast.repo_config import RepoConfig
from feast.types import Float64, Int64, String

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from stream_jobs import plan as plans
from stream_jobs.errors import OfflineStoreError, OnlineStoreError
from stream_jobs.lake import sink
from stream_jobs.lake.reading import connect
from stream_jobs.offline import asked, writing
from stream_jobs.offline.frame import Frame
from stream_jobs.offline.job import ApplianceRetrievalJob
from stream_jobs.offline.plain import rows_between, source
from stream_jobs.offline.store import ApplianceOfflineStore
from stream_jobs.plan import Column, Plan, View, WindowFeature
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

NAMES = Names("main")
DAY = timedelta(days=1)
NOON = datetime(2018, 4, 3, 12, tzinfo=UTC)
VIEW = View(
    "names", 1, "bank", TABLE.table, TABLE.topic, "e", "name", ("name",), "id", "opened", (),
    (WindowFeature("count_2d", "count", None, 2 * 86_400_000_000),), "", "",
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """Three accounts of zoë, opened a day apart until noon, committed in this order; the middle one is deleted."""
    layout = Layout.below(tmp_path)
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    layout.etc.mkdir()
    layout.installation_file.write_bytes(msgspec.json.encode(Installation("0", 1, "root", "main", "test", "", {}, {})))
    scenario = Plan("test", (TABLE,), (VIEW,), ())
    plans.write(scenario, layout.plan_file)
    into = sink.of_table(TABLE, scenario, NAMES, layout.lake)
    rows = [row(n, opened=(NOON - (2 - n) * DAY).isoformat()) for n in range(3)]
    into.add([*(change("c", n, each) for n, each in enumerate(rows)), change("d", 3, None, rows[1])])
    into.flush()
    return layout


def _store(home: Layout, *objects: Any, online: dict[str, str] | None = None) -> FeatureStore:
    folder = home.code.parent
    config = RepoConfig(
        project="test", provider="local", registry=str(folder / "registry.db"),
        offline_store={"type": "stream_jobs.offline.store.ApplianceOfflineStore", "memory_mib": 256, "threads": 1},
        online_store=online or {"type": "sqlite", "path": str(folder / "online.db")},
        batch_engine={"type": "stream_jobs.offline.engine.ApplianceComputeEngine"}, entity_key_serialization_version=3,
    )  # fmt: skip
    store = FeatureStore(config=config)
    store.apply(list(objects))
    return store


def _windowed(home: Layout, online: dict[str, str] | None = None, pushed: bool = False) -> FeatureStore:
    """pushed: with the push source ``accounts_pushed`` instead of a Kafka topic."""
    name = Entity(name="name", join_keys=["name"], value_type=ValueType.STRING)
    changes = FileSource(
        name="changes", path=str(home.lake / NAMES.lake_changes("bank", TABLE.table)), file_format=DeltaFormat(),
        timestamp_field="opened",
    )  # fmt: skip
    accounts = KafkaSource(
        name="accounts", timestamp_field="opened", message_format=JsonFormat(schema_json="id int"), topic=TABLE.topic,
        batch_source=changes,
    )  # fmt: skip
    source = PushSource(name="accounts_pushed", batch_source=changes) if pushed else accounts
    view = StreamFeatureView(
        name="names", entities=[name], source=source, timestamp_field="opened", ttl=DAY,
        schema=[Field(name="name", dtype=String), Field(name="count_2d", dtype=Int64)],
        aggregations=[Aggregation(column="*", function="count", time_window=2 * DAY, name="count_2d")],
    )  # fmt: skip
    return _store(home, name, source, view, online=online)


def _frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"name": ["zoë", "nobody", "zoë"], "event_timestamp": [NOON, NOON, NOON - DAY]} | columns)


def test_cuts_of_a_windowed_view(home: Layout) -> None:
    store = _windowed(home)

    def counts(**columns: Any) -> list[int]:
        job = store.get_historical_features(_frame(**columns), ["names:count_2d"])
        counted: list[int] = job.to_df()["count_2d"].tolist()
        return counted

    def at(offset: int) -> str:
        return f"{1000 + offset:016x}{2000 + offset:016x}"

    assert counts() == [1, 0, 1], "the deleted row counts nowhere; at noon the first one is two days old and out"
    assert counts(position=[at(2), at(2), at(2)]) == [2, 0, 2], "before its deletion it counted"
    assert counts(position=[at(1), at(1), at(0)]) == [1, 0, 1]
    committed = datetime.fromtimestamp(1_763_900_000, UTC)
    assert counts(known_at=[committed + timedelta(microseconds=2)] * 3) == [2, 0, 2]
    late = store.get_historical_features(_frame(), ["names:count_2d"], filter_by_created_timestamp=True).to_df()
    assert late["count_2d"].tolist() == [0, 0, 0], "all was committed years after these times"


def test_a_result_comes_block_by_block(home: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stream_jobs.offline.join.BLOCK", 2)
    monkeypatch.setattr("stream_jobs.offline.store.BLOCK", 2)
    job = _windowed(home).get_historical_features(_frame(), ["names:count_2d"])
    assert isinstance(job, ApplianceRetrievalJob)
    batches = list(job.to_arrow_batches())
    assert [batch.num_rows for batch in batches] == [2, 1]
    assert pa.Table.from_batches(batches).to_pandas()["count_2d"].tolist() == [1, 0, 1]
    job.persist(SavedDatasetFileStorage(str(tmp_path / "saved.parquet")))
    assert pd.read_parquet(tmp_path / "saved.parquet")["count_2d"].tolist() == [1, 0, 1]


def test_an_entity_frame_may_be_sql_over_the_lake(home: Layout) -> None:
    sql = """SELECT DISTINCT after_name AS name, TIMESTAMPTZ '2018-04-03 14:00:00+02' AS event_timestamp
             FROM changes."bank.public.accounts" WHERE op = 'c'"""
    assert _windowed(home).get_historical_features(sql, ["names:count_2d"]).to_df()["count_2d"].tolist() == [1]
    with pytest.raises(OfflineStoreError, match="gives no rows"):
        _windowed(home).get_historical_features("SELECT * FROM nowhere", ["names:count_2d"])


def test_keys_and_columns_may_have_any_name(home: Layout, tmp_path: Path) -> None:
    """Also those of which the store's own relations are made."""
    path = tmp_path / "plain"
    stored = {"question": [7], "as_of": ["value"], "row_us": [1.5], "at": [NOON]}
    write_deltalake(str(path), pa.table(stored))
    entity = Entity(name="question", join_keys=["question"], value_type=ValueType.INT64)
    view = FeatureView(
        name="plain", entities=[entity], ttl=DAY,
        schema=[Field(name="question", dtype=Int64), Field(name="as_of", dtype=String)],
        source=FileSource(name="plain", path=str(path), file_format=DeltaFormat(), timestamp_field="at"),
    )  # fmt: skip
    frame = pd.DataFrame({"question": [7, 8], "event_timestamp": [NOON, NOON]})
    job = _store(home, entity, view).get_historical_features(frame, ["plain:as_of"])
    assert job.to_df()["as_of"].tolist() == ["value", None]


def test_the_questions_of_a_view_keep_its_columns_apart(home: Layout) -> None:
    view = msgspec.structs.replace(
        VIEW, join_keys=("question",), columns=(Column("in_hand", "string"), Column("as_of", "int64")),
        derived=(), reads=(),
    )  # fmt: skip
    given = {"question": ["zoë"], "in_hand": ["left"], "as_of": [3], "id": [9]}
    frame = Frame(pd.DataFrame(given | {"event_timestamp": [NOON], "row_in_hand": [9]}), False)
    table, _ = frame.questions(view, {}, True, "relation")
    row = table.to_pylist()[0]
    assert {name: row[name] for name in ("question", "in_hand", "as_of")} == {
        "question": "zoë", "in_hand": "left", "as_of": 3,
    }  # fmt: skip
    assert row[asked.QUESTION] == 0 and row[asked.IN_HAND] == 9 and row[asked.AS_OF] == NOON.timestamp() * 1_000_000


def test_a_frame_in_another_time_zone_asks_the_same(home: Layout) -> None:
    frame = _frame()
    frame["event_timestamp"] = frame["event_timestamp"].dt.tz_convert("Asia/Tokyo")
    got = _windowed(home).get_historical_features(frame, ["names:count_2d"]).to_df()
    assert got["count_2d"].tolist() == [1, 0, 1]
    naive = _frame()
    naive["event_timestamp"] = naive["event_timestamp"].dt.tz_localize(None)
    got = _windowed(home).get_historical_features(naive, ["names:count_2d"]).to_df()
    assert got["count_2d"].tolist() == [1, 0, 1], "times without a zone are UTC"


def test_a_result_is_kept_as_a_file_once(home: Layout, tmp_path: Path) -> None:
    store = _windowed(home)
    job = store.get_historical_features(_frame(), ["names:count_2d"], full_feature_names=True)
    storage = SavedDatasetFileStorage(str(tmp_path / "saved.parquet"))
    job.persist(storage)
    assert pd.read_parquet(tmp_path / "saved.parquet")["names__count_2d"].tolist() == [1, 0, 1]
    with pytest.raises(Exception, match="already exists"):
        job.persist(storage)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old.parquet").write_bytes(b"")
    job.persist(SavedDatasetFileStorage(str(folder)), allow_overwrite=True)
    assert [file.name for file in folder.iterdir()] == ["rows.parquet"]
    job.persist(SavedDatasetFileStorage(str(tmp_path / "delta"), DeltaFormat()))
    assert DeltaTable(str(tmp_path / "delta")).to_pyarrow_table()["names__count_2d"].to_pylist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"position": ["0" * 32, "1", "0" * 32]}, "row 1 of column 'position' is '1'"),
        ({"position": ["0" * 32, None, "0" * 32]}, "row 1 of column 'position' is None"),
        ({"position": ["0" * 32] * 3, "known_at": [NOON] * 3}, "both"),
        ({"event_timestamp": [NOON, None, NOON]}, "nulls"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(home: Layout, columns: dict[str, Any], what: str) -> None:
    with pytest.raises(OfflineStoreError, match=what):
        _windowed(home).get_historical_features(_frame(**columns), ["names:count_2d"]).to_df()


def test_the_only_column_of_times_is_the_as_of_time(home: Layout) -> None:
    store = _windowed(home)
    frame = _frame().rename(columns={"event_timestamp": "when"})
    assert store.get_historical_features(frame, ["names:count_2d"]).to_df()["count_2d"].tolist() == [1, 0, 1]
    with pytest.raises(OfflineStoreError, match="times in columns"):
        store.get_historical_features(frame.assign(then=NOON), ["names:count_2d"])


def test_a_log_of_changes_gives_no_feature_values(home: Layout) -> None:
    """Feast itself refuses to materialize windows; this is for who asks the store."""
    store = _windowed(home)
    source = store.get_stream_feature_view("names").batch_source
    assert source is not None
    with pytest.raises(OfflineStoreError) as raised:
        ApplianceOfflineStore.pull_all_from_table_or_query(store.config, source, ["name"], ["count_2d"], "opened")
    assert raised.value.code == "offline.change_log"
    with pytest.raises(OfflineStoreError) as raised:
        ApplianceOfflineStore.offline_write_batch(
            store.config, store.get_stream_feature_view("names"), pa.table({"name": ["zoë"]}), None
        )
    assert raised.value.code == "offline.change_log"
    with pytest.raises(OfflineStoreError, match="has a value at every moment"):
        store.get_historical_features(entity_df=None, features=["names:count_2d"], start_date=NOON, end_date=NOON)


@pytest.mark.parametrize("verb", ["push", "write_to_online_store", "materialize", "materialize_incremental"])
def test_no_verb_of_feasts_writes_values_into_a_windowed_view(home: Layout, verb: str) -> None:
    """Refused with our reason, before anything is asked of Redis (there is none here)."""
    store = _windowed(home, {"type": "stream_jobs.online.feast_store.ApplianceOnlineStore"}, pushed=verb == "push")
    rows = pd.DataFrame({"name": ["zoë"], "count_2d": [1], "opened": [NOON]})
    calls: dict[str, Callable[[], object]] = {
        "push": lambda: store.push("accounts_pushed", rows),
        "write_to_online_store": lambda: store.write_to_online_store("names", rows),
        "materialize": lambda: store.materialize(NOON - DAY, NOON, ["names"]),
        "materialize_incremental": lambda: store.materialize_incremental(NOON, ["names"]),
    }
    with pytest.raises(OnlineStoreError, match="view 'names' is windowed"):
        calls[verb]()


def test_a_plain_view_is_its_newest_row_in_time(home: Layout, tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    rows = pa.table(
        {
            "name": ["zoë"] * 4,
            "segment": ["a", "b", "b again", "c"],
            "at": pa.array(
                [NOON - 30 * hour, NOON - 2 * hour, NOON - 2 * hour, NOON + hour], pa.timestamp("us", "UTC")
            ),
            "made": pa.array([NOON - 30 * hour, NOON - hour, NOON + hour, NOON], pa.timestamp("us", "UTC")),
        }
    )
    write_deltalake(str(tmp_path / "segments"), rows)
    name = Entity(name="name", join_keys=["name"], value_type=ValueType.STRING)
    source = FileSource(
        name="segments", path=str(tmp_path / "segments"), file_format=DeltaFormat(), timestamp_field="at",
        created_timestamp_column="made",
    )  # fmt: skip
    view = FeatureView(
        name="segment", entities=[name], source=source, ttl=DAY,
        schema=[Field(name="name", dtype=String), Field(name="segment", dtype=String)],
    )  # fmt: skip
    store = _store(home, name, view)
    frame = _frame(event_timestamp=[NOON, NOON, NOON - 3 * hour])
    got = store.get_historical_features(frame, ["segment:segment"]).to_df()["segment"].tolist()
    assert got == ["b again", None, None], "the last one stored of its time; none within a day; none before"
    then = store.get_historical_features(frame, ["segment:segment"], filter_by_created_timestamp=True).to_df()
    assert then["segment"].tolist() == ["b", None, None]
    every = store.get_historical_features(
        entity_df=None, features=["segment:segment"], start_date=NOON - 3 * hour, end_date=NOON + hour
    ).to_df()
    assert sorted(every["segment"]) == ["b again", "c"], "each key and time there is asked once"
    more = pa.table(
        {
            "name": ["new"],
            "segment": ["n"],
            "at": pa.array([NOON], rows["at"].type),
            "made": pa.array([NOON], rows["made"].type),
        }
    )
    store.write_to_offline_store("segment", more.to_pandas(), allow_registry_cache=False)
    assert DeltaTable(str(tmp_path / "segments")).to_pyarrow_table().num_rows == 5
    store.materialize(NOON - DAY, NOON)
    online = store.get_online_features(["segment:segment"], [{"name": "zoë"}]).to_dict()
    assert online["segment"] == ["b again"]


def test_a_folder_of_parquet_files_with_renamed_columns_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "day").mkdir()
    at = pa.array([NOON], pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"name": ["zoë"], "seg": ["a"], "at": at}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"name": ["ada"], "seg": ["b"], "at": at}), tmp_path / "day" / "2.parquet")
    declared = FileSource(
        name="s", path=str(tmp_path), timestamp_field="at", field_mapping={"seg": "segment", "absent": "other"}
    )
    with connect(tmp_path / "scratch") as connection:
        blocks = rows_between(connection, source(declared, ""), ["name"], ["segment"], NOON, NOON, latest=False)
        rows = pa.concat_tables(blocks)
    assert sorted(rows["segment"].to_pylist()) == ["a", "b"]
    renamed_time = FileSource(name="s", path=str(tmp_path), timestamp_field="when", field_mapping={"at": "when"})
    assert source(renamed_time, "").timestamp == "when"
    (tmp_path / "empty").mkdir()
    with pytest.raises(OfflineStoreError, match="has no files"):
        source(FileSource(name="s", path=str(tmp_path / "empty"), timestamp_field="at"), "")


def test_a_view_without_entities_has_one_value_at_a_time(home: Layout, tmp_path: Path) -> None:
    """Its times are in nanoseconds, as pandas writes them."""
    rows = pd.DataFrame({"rate": [1.5, 2.5], "at": [NOON - DAY, NOON], "made": [NOON - DAY, NOON]})
    rows.astype({"at": "datetime64[ns, UTC]", "made": "datetime64[ns, UTC]"}).to_parquet(tmp_path / "rates.parquet")
    stored = FileSource(
        name="rates", path=str(tmp_path / "rates.parquet"), timestamp_field="at", created_timestamp_column="made"
    )
    view = FeatureView(name="rate", entities=[], source=stored, schema=[Field(name="rate", dtype=Float64)])
    store = _store(home, view)
    for created in (False, True):
        job = store.get_historical_features(_frame(), ["rate:rate"], filter_by_created_timestamp=created)
        assert job.to_df()["rate"].tolist() == [2.5, 2.5, 1.5]


def test_logs_of_served_features_are_read_back(home: Layout, tmp_path: Path) -> None:
    config = _store(home).config
    for partition_by in (None, ["name"]):
        destination = FileLoggingDestination(path=str(tmp_path / f"logs{partition_by}"), partition_by=partition_by)
        rows = pa.table({"name": ["zoë"], "score": [0.5], "at": pa.array([NOON], pa.timestamp("us", "UTC"))})
        for _ in range(2):
            writing.log(config, destination, rows)
        job = ApplianceOfflineStore.pull_all_from_table_or_query(
            config, destination.to_data_source(), [], ["name", "score"], "at", None, NOON - DAY, NOON
        )
        assert job.to_df()[["name", "score"]].values.tolist() == [["zoë", 0.5], ["zoë", 0.5]]
