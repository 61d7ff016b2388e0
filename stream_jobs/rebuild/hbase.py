"""Makes a view's table in HBase hold exactly the lake's edits again, while it is written and read.

1. Every cell is read and put aside as (entity, edit, what it says).
2. The lake is waited for until it holds every change captured by now. So each true edit among those cells is in it.
3. What the lake has and the cells have not, or have otherwise, is put; then what the lake does not know is deleted.
   Cells are named by their edit, so a put of what the writer has put meanwhile changes nothing.

The table is never empty: what was right stays untouched, each entity's missing cells come in one put. Killed at any
moment, it can be run again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import duckdb
import msgspec
import pyarrow as pa

from appliance import position as positions
from appliance.clients import hbase
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs.errors import EditError
from stream_jobs.online import hbase_table
from stream_jobs.online.packed import RowLayout
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild import from_lake, tables
from stream_jobs.rebuild import held as helds
from stream_jobs.rebuild.result import Progress, Result, Tell

_SCAN_ROWS = 100
_SCAN_CELLS = 5000
_PAGE = 20_000
_PUT_CELLS = 5000
_DECODER = msgspec.json.Decoder(Edit)
_CELLS = pa.schema([("entity", pa.string()), ("qualifier", pa.binary()), ("record", pa.binary())])
_WRONG = pa.schema(
    [("entity", pa.string()), ("row_id", pa.string()), ("position", pa.string()), ("sign", pa.int8()),
     ("late", pa.bool_())]
)  # fmt: skip
"""What HBase lacks or has otherwise. late: it may have come after the table was read."""
_PREFIX = len(hbase_table.FAMILY) + 1


class HBaseRebuild:
    """One rebuild of one view version. reached: the position that ``writer-hbase`` had reached before.

    An edit above it that the table lacks is not counted as missing: it was on its way.
    """

    def __init__(
        self, context: Context, plan: Plan, view: View, reached: str | None, tell: Tell = lambda progress: None
    ) -> None:
        self._context, self._view, self._tell = context, view, tell
        self._table = from_lake.captured(plan, view)
        self._layout = RowLayout.of(plan, view)
        self._hbase_name = context.names.hbase_table(view.name, view.version)
        self._reached = reached or positions.LAST
        self._progress = Progress()
        self._edits = self._unknown = self._missing = self._refused = 0
        self._before = self._after = 0
        self._unnamed: list[tuple[bytes, bytes]] = []
        """Cells whose key or qualifier names no edit at all: [(row key, qualifier)]."""

    def run(self) -> Result:
        """Raises RebuildError, LakeError, KafkaException, and one of ``hbase.FAILURES`` when HBase does not answer."""
        began = time.monotonic()
        with hbase.connect(self._context, timeout_ms=120_000) as connection, from_lake.lake(self._context) as lake:
            hbase.create_table(connection, self._hbase_name, hbase_table.OPTIONS)
            table = connection.table(self._hbase_name)
            tables.make(lake, "cells", _CELLS)
            tables.make(lake, "truth", _CELLS)
            self._read(lake, table)
            version = self._wait_for_the_lake()
            changes = from_lake.changes(self._context, self._table, version)
            self._read_truth(lake, changes)
            changed = self._repair(lake, table, changes)
            entities = tables.number(lake, "SELECT count(DISTINCT entity) FROM truth")
        return Result(
            "hbase", f"{self._view.name}.v{self._view.version}", entities, self._edits, changed, self._unknown,
            self._missing, self._refused, self._before, self._after, version, self._reached, time.monotonic() - began,
        )  # fmt: skip

    def _read(self, lake: duckdb.DuckDBPyConnection, table: Any) -> None:
        """Step 1."""
        self._say("reading HBase", 0, 0)
        page: list[tuple[str, bytes, bytes]] = []
        for key, cells in table.scan(batch_size=_SCAN_ROWS, scan_batching=_SCAN_CELLS):
            entity = _entity(key)
            for name, value in cells.items():
                self._before += len(value)
                self._progress.done += 1
                qualifier = name[_PREFIX:]
                if entity is None:
                    self._unnamed.append((key, qualifier))
                else:
                    page.append((entity, qualifier, self._said(entity, qualifier, value)))
            if len(page) >= _PAGE:
                tables.insert(lake, "cells", _CELLS, page)
                self._tell(self._progress)
        tables.insert(lake, "cells", _CELLS, page)

    def _said(self, entity: str, qualifier: bytes, value: bytes) -> bytes:
        """What a cell says, by value; empty when it is not the edit that its place names."""
        try:
            edit = _DECODER.decode(value)
            if edit.entity == entity and hbase_table.column(edit)[_PREFIX:] == qualifier:
                return self._layout.encode(edit)
        except (msgspec.MsgspecError, EditError, ValueError, OverflowError):
            return b""
        return b""

    def _wait_for_the_lake(self) -> int:
        self._say("waiting until the lake holds what has been captured", 0, 0)
        consumer = helds.consumer(self._context)
        try:
            until = helds.ends(self._table, consumer)
            return helds.wait(self._context, self._table, consumer, until, helds.LAKE_SECONDS, self._waiting).version
        finally:
            consumer.close()

    def _waiting(self) -> None:
        self._tell(self._progress)

    def _read_truth(self, lake: duckdb.DuckDBPyConnection, changes: str) -> None:
        self._say("reading the lake", 0, 0)
        with lake.cursor() as notes:
            for batch in from_lake.batches(lake, self._view, self._table, changes, None):
                page = []
                for edit in from_lake.edits_of(self._view, batch):
                    try:
                        page.append((edit.entity, hbase_table.column(edit)[_PREFIX:], self._layout.encode(edit)))
                    except EditError:
                        self._refused += 1
                self._edits += len(page)
                self._progress.done = self._edits
                tables.insert(notes, "truth", _CELLS, page)
                self._tell(self._progress)

    def _repair(self, lake: duckdb.DuckDBPyConnection, table: Any, changes: str) -> int:
        """Step 3. Returns how many entities did not hold what they should have held already."""
        self._say("comparing", 0, 0)
        tables.make(lake, "wrong", _WRONG)
        with lake.cursor() as notes:
            page: list[tuple[str, str, str, int, bool]] = []
            for entity, qualifier, there in tables.rows(
                lake,
                "SELECT DISTINCT truth.entity, truth.qualifier, cells.record IS NOT NULL FROM truth"
                " LEFT JOIN cells USING (entity, qualifier) WHERE cells.record IS DISTINCT FROM truth.record",
            ):
                position = hbase_table.position_of(qualifier)
                late = not there and position > self._reached
                self._missing += not late
                page.append((entity, qualifier[25:].decode(), position, 1 if qualifier[24] else -1, late))
                if len(page) >= _PAGE:
                    tables.insert(notes, "wrong", _WRONG, page)
            tables.insert(notes, "wrong", _WRONG, page)
        lake.execute(
            "CREATE TABLE unknown AS SELECT entity, qualifier FROM cells ANTI JOIN truth USING (entity, qualifier)"
        )
        self._unknown = tables.number(lake, "SELECT count(*) FROM unknown") + len(self._unnamed)
        self._put(lake, table, changes)
        self._delete(lake, table)
        changed = "SELECT entity FROM wrong WHERE NOT late UNION SELECT entity FROM unknown"
        return tables.number(lake, f"SELECT count(*) FROM ({changed})")

    def _put(self, lake: duckdb.DuckDBPyConnection, table: Any, changes: str) -> None:
        count = tables.number(lake, "SELECT count(*) FROM wrong")
        self._say("writing what is missing", 0, count)
        if not count:
            return
        sql = from_lake.edits_sql(self._view, self._table, changes)
        rows: dict[bytes, dict[bytes, bytes]] = {}
        waiting = 0
        wanted = f"FROM ({sql}) SEMI JOIN wrong USING (entity, row_id, position, sign) ORDER BY entity"
        for batch in lake.sql(wanted).to_arrow_reader(_PAGE):
            for edit in from_lake.edits_of(self._view, batch):
                key = hbase_table.row_key(edit.entity)
                if waiting >= _PUT_CELLS and key not in rows:
                    self._send(table, rows)
                    rows, waiting = {}, 0
                rows.setdefault(key, {})[hbase_table.column(edit)] = value = msgspec.json.encode(edit)
                self._after += len(value)
                self._progress.done += 1
                waiting += 1
        self._send(table, rows)

    def _send(self, table: Any, rows: Mapping[bytes, Mapping[bytes, bytes]]) -> None:
        """One put an entity: its missing cells appear together."""
        with table.batch() as puts:
            for key, cells in rows.items():
                puts.put(key, cells)
        self._tell(self._progress)

    def _delete(self, lake: duckdb.DuckDBPyConnection, table: Any) -> None:
        self._say("removing what the lake does not know", 0, self._unknown)
        named = ((hbase_table.row_key(entity), q) for entity, q in tables.rows(lake, "FROM unknown ORDER BY entity"))
        for cells in (named, self._unnamed):
            rows: dict[bytes, list[bytes]] = {}
            waiting = 0
            for key, qualifier in cells:
                rows.setdefault(key, []).append(b"e:" + qualifier)
                waiting += 1
                if waiting >= _PUT_CELLS:
                    self._drop(table, rows)
                    rows, waiting = {}, 0
            self._drop(table, rows)

    def _drop(self, table: Any, rows: Mapping[bytes, list[bytes]]) -> None:
        with table.batch() as deletes:
            for key, columns in rows.items():
                deletes.delete(key, columns)
        self._progress.done += sum(map(len, rows.values()))
        self._tell(self._progress)

    def _say(self, what: str, done: int, of: int) -> None:
        self._progress.what, self._progress.done, self._progress.of = what, done, of
        self._tell(self._progress)


def _entity(key: bytes) -> str | None:
    """The entity whose row key this is; None if it is none's."""
    try:
        entity = key[2:].decode()
    except UnicodeDecodeError:
        return None
    return entity if hbase_table.row_key(entity) == key else None
