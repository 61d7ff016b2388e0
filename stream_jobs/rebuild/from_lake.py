"""A captured table's changes in the lake → the edits of a view, exactly those that its Flink job makes of them.

The same rules as ``compiler/sql.py``: c and r give +after, u gives -before and +after, d gives -before; a half whose
row id, join key or event time is null gives nothing. A truncate gives nothing itself: the deletes that ``mender`` wrote
into the topic for it are in the lake too. Equal means equal in sign, position, known_at, assumed, entity, row id, event
time and columns by value: decimals have the digits of their column here, while Flink passes on the text it got.

One difference is left: a record without one of the view's columns (dropped or renamed in the database) is a dead letter
for Flink. The lake keeps its row with a null there, and it gives an edit here.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import duckdb
import pyarrow as pa

from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs.errors import RebuildError
from stream_jobs.lake import reading, schema
from stream_jobs.lake.reading import literal, quote
from stream_jobs.offline.transformed import lake_value, rows_condition, view_values
from stream_jobs.plan import CapturedTable, Column, Plan, View

Order = Literal["position", "entity"]

_SCRATCH = "rebuild"
_ROWS = 20_000
_META = ("sign", "position", "known_at", "entity", "row_id", "event_time", "assumed")
_TEXT_TYPES = ("int64", "decimal", "string", "bool")
_SEPARATOR = "\x1f"


def captured(plan: Plan, view: View) -> CapturedTable:
    """The table a view stands on. Raises RebuildError when the plan does not capture it."""
    for table in plan.tables:
        if (table.source, table.table) == (view.source, view.table):
            return table
    raise RebuildError(
        "rebuild.no_table", f"view {view.name!r} stands on {view.table}, which the plan does not capture"
    )


def edits_sql(view: View, table: CapturedTable, changes: str) -> str:
    """SELECT of the edits, in no order: sign, position, known_at (µs), assumed, entity, row_id, event_time (µs), and a
    column ``column_<name>`` for each of the view's.

    changes: a relation in the schema of the table's changes. Raises RebuildError for a key whose text the lake cannot
    give back.
    """
    shape = _Shape(view, table)
    halves = [
        shape.select(-1, "before", f"FROM {changes} WHERE op IN ('u', 'd')"),
        shape.select(1, "after", f"FROM {changes} WHERE op IN ('c', 'r', 'u')"),
    ]
    return " UNION ALL ".join(halves)


def batches(
    connection: duckdb.DuckDBPyConnection,
    view: View,
    table: CapturedTable,
    changes: str,
    order: Order | None,
    only: str = "true",
) -> Iterator[pa.RecordBatch]:
    """The edits in batches of at most 20,000, columns as ``edits_sql``; DuckDB sorts them within its memory limit.

    order: by position, or by entity and then position; None for no order. At one position -before stands first.
    only: a condition on the columns.
    """
    by = {"position": "ORDER BY position, sign", "entity": "ORDER BY entity, position, sign", None: ""}[order]
    sql = edits_sql(view, table, changes)
    yield from connection.sql(f"SELECT * FROM ({sql}) WHERE {only} {by}").to_arrow_reader(_ROWS)


def edits_of(view: View, batch: pa.RecordBatch) -> list[Edit]:
    """A batch of ``batches`` as edits."""
    meta = [batch.column(name).to_pylist() for name in _META]
    names = [column.name for column in view.columns]
    rows = zip(*(batch.column(f"column_{name}").to_pylist() for name in names), strict=True) if names else None
    columns = [dict(zip(names, row, strict=True)) for row in rows] if rows else [{}] * batch.num_rows
    return [Edit(*[*one, row]) for one, row in zip(zip(*meta, strict=True), columns, strict=True)]


def edits(context: Context, plan: Plan, view: View, version: int | None = None) -> Iterator[list[Edit]]:
    """A view's edits in position order, from a version (default: the newest) of its table's change table.

    Memory stays within DuckDB's limit and one batch. Raises LakeError when there is no such table or version.
    """
    table = captured(plan, view)
    with lake(context) as connection:
        for batch in batches(connection, view, table, changes(context, table, version), "position"):
            yield edits_of(view, batch)


@contextlib.contextmanager
def lake(context: Context) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that puts what does not fit into its memory into a folder of its own, removed afterwards.

    Folders that killed processes left behind are removed too.
    """
    for left in context.layout.run.glob(f"{_SCRATCH}-*"):
        if not Path(f"/proc/{left.name.split('-')[1]}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.TemporaryDirectory(prefix=f"{_SCRATCH}-{os.getpid()}-", dir=context.layout.run)
    with folder as scratch, reading.connect(Path(scratch)) as connection:
        yield connection


def path(context: Context, table: CapturedTable) -> Path:
    """Where the change table of a captured table lies."""
    return context.layout.lake / context.names.lake_changes(table.source, table.table)


def changes(context: Context, table: CapturedTable, version: int | None = None) -> str:
    """SQL text of a version of a table's changes. Raises LakeError when there is none."""
    return reading.scan(path(context, table), schema.changes(table), version)


class _Shape:
    """The parts of a view's SELECTs."""

    def __init__(self, view: View, table: CapturedTable) -> None:
        self._view = view
        self._types = {column.name: column for column in table.columns}
        if missing := sorted(set(view.captured_columns) - self._types.keys()):
            raise RebuildError(
                "rebuild.columns", f"view {view.name!r} needs columns {missing}, which {table.table} does not capture"
            )
        for name in (view.row_id, *view.join_keys):
            if self._types[name].type not in _TEXT_TYPES:
                raise RebuildError(
                    "rebuild.key_type",
                    f"view {view.name!r}: key {name!r} is a {self._types[name].type}; the text that the stream gives it"
                    f" cannot be told from the lake, expected one of {list(_TEXT_TYPES)}",
                )

    def select(self, sign: int, image: str, source: str) -> str:
        view = self._view
        row_id, event_time = quote(f"{image}_{view.row_id}"), quote(f"{image}_{view.event_time}")
        keys = [quote(f"{image}_{key}") for key in view.join_keys]
        texts = ", ".join(f"{key}::VARCHAR" for key in keys)
        values = {
            "sign": f"{sign}::TINYINT",
            "position": "position",
            "known_at": f"CASE WHEN assumed THEN epoch_us({event_time}) ELSE epoch_us(known_at) END",
            "assumed": "assumed",
            "entity": f"concat_ws({literal(_SEPARATOR)}, {texts})",
            "row_id": f"{row_id}::VARCHAR",
            "event_time": f"epoch_us({event_time})",
            **{f"column_{c.name}": self._value(c, image) for c in view.columns},
        }
        there = " AND ".join(f"{name} IS NOT NULL" for name in dict.fromkeys([row_id, event_time, *keys]))
        there += f" AND {rows_condition(view, self._types, lambda name: quote(f'{image}_{name}'))}"
        listed = ", ".join(f"{value} AS {quote(name)}" for name, value in values.items())
        return f"SELECT {listed} FROM (SELECT * {source}) WHERE {there}"

    def _value(self, column: Column, image: str) -> str:
        """As in Flink's edits: decimals are text, times int64 µs."""
        expression = quote(f"{image}_{column.name}")
        if any(one.name == column.name for one in self._view.derived):
            value = view_values(self._view, self._types, lambda name: quote(f"{image}_{name}"))[column.name]
            return f"{lake_value(column, value)}::VARCHAR" if column.type == "decimal" else value
        if column.type == "decimal":
            return f"{expression}::VARCHAR"
        if column.type == "timestamp_us":
            return f"epoch_us({expression})"
        return expression
