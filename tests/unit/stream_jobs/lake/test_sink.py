"""Rows and offsets go into one commit: whatever is read again after a crash, nothing is missing, nothing is twice."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from appliance.names import Names
from stream_jobs.errors import LakeError
from stream_jobs.lake import delta, schema, sink
from stream_jobs.lake.reading import scan
from stream_jobs.lake.records import Raw
from stream_jobs.plan import CapturedTable, Column, Plan
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

NAMES = Names("main")
PLAN = Plan("test", (TABLE,), (), ())


def _sink(lake: Path, table: CapturedTable = TABLE) -> sink.Sink:
    return sink.of_table(table, PLAN, NAMES, lake)


def _offsets(lake: Path) -> list[int]:
    table = scan(lake / NAMES.lake_changes("bank", TABLE.table), schema.changes(TABLE))
    return [each[0] for each in duckdb.sql(f'SELECT "offset" FROM {table} ORDER BY 1').fetchall()]


def test_after_a_crash_it_goes_on_where_the_table_stands(tmp_path: Path) -> None:
    records = [change("c", offset, row(offset)) for offset in range(10)]
    first = _sink(tmp_path)
    assert first.reached(0) is None
    first.add(records[:4])
    assert first.flush() == {0: 3}
    first.add(records[4:7])  # and killed: never flushed
    again = _sink(tmp_path)
    assert again.reached(0) == 3
    again.add(records[4:])
    again.flush()
    assert _offsets(tmp_path) == list(range(10))
    assert _sink(tmp_path).reached(0) == 9


def test_each_partition_has_its_own_offset(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    other = change("c", 40, row(1))
    one.add([change("c", 3, row(2)), Raw(other.topic, 1, 40, other.value)])
    one.flush()
    assert (one.reached(0), one.reached(1), one.reached(2)) == (3, 40, None)


def test_offsets_survive_checkpoint_and_compaction(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    for offset in range(120):
        one.add([change("c", offset, row(offset))])
        one.flush()
    path = tmp_path / NAMES.lake_changes("bank", TABLE.table)
    assert (path / "_delta_log" / "_last_checkpoint").exists()
    delta.open_table(path).optimize.compact()
    assert _sink(tmp_path).reached(0) == 119
    one.add([change("c", 120, row(120))])
    one.flush()
    assert _offsets(tmp_path) == list(range(121)), "a writer goes on over another process's compaction"


def test_markers_alone_wait_long_but_move_the_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _sink(tmp_path)
    one.add([Raw(TABLE.topic, 0, 8, b'{"op":"m","source":{}}')])
    assert not one.due(1, 0)
    monkeypatch.setattr(sink, "IDLE_COMMIT_SECONDS", 0)
    assert one.due(1, 0)
    one.flush()
    assert one.reached(0) == 8 and _offsets(tmp_path) == []


def test_a_broken_record_is_passed_for_good(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    broken = one.add([Raw(TABLE.topic, 0, 2, b"{")])
    assert [each.raw.offset for each in broken] == [2]
    assert one.due(100, 0)
    one.flush()
    assert _sink(tmp_path).reached(0) == 2


def test_a_new_column_is_null_in_older_rows(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    one.add([change("c", 0, row(1))])
    one.flush()
    wider = CapturedTable(
        TABLE.source, TABLE.table, TABLE.topic, TABLE.primary_key, (*TABLE.columns, Column("city", "string")),
        TABLE.event_time, True,
    )  # fmt: skip
    two = _sink(tmp_path, wider)
    two.add([change("c", 1, row(2, city="Ulm"))])
    two.flush()
    table = scan(tmp_path / NAMES.lake_changes("bank", TABLE.table), schema.changes(wider))
    assert duckdb.sql(f"SELECT after_id, after_city FROM {table} ORDER BY 1").fetchall() == [(1, None), (2, "Ulm")]


def test_a_changed_type_is_refused(tmp_path: Path) -> None:
    _sink(tmp_path)
    changed = tuple(Column("name", "int64") if column.name == "name" else column for column in TABLE.columns)
    with pytest.raises(LakeError) as raised:
        _sink(tmp_path, CapturedTable("bank", TABLE.table, TABLE.topic, ("id",), changed, "opened", True))
    assert raised.value.code == "lake.type_changed"


def test_rows_wait_when_the_table_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = _sink(tmp_path)
    one.add([change("c", 0, row(1))])

    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(delta, "write_deltalake", full)
        with pytest.raises(LakeError):
            one.flush()
    assert one.flush() == {0: 0}
    assert _offsets(tmp_path) == [0]


def test_decimals_and_times_are_of_the_plans_types(tmp_path: Path) -> None:
    _sink(tmp_path)
    stored = delta.open_table(tmp_path / NAMES.lake_changes("bank", TABLE.table)).schema().to_pyarrow()
    assert stored.field("after_balance").type == pa.decimal128(38, 2)
    assert stored.field("after_opened").type == pa.timestamp("us", "UTC")
