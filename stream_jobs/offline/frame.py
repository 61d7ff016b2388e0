"""The entity frame: one question a row.

Columns with a meaning of their own, all optional but the first:

- ``event_timestamp``: the as-of time (datetime, UTC where it names no zone); or the only column of times there is;
- ``position``: 32 hex digits; only changes up to it count. A training row gives its own;
- ``known_at``: datetime; only what was committed by then counts. Not together with ``position``;
- ``row_in_hand``: id of the row the question is about, null for none: the frame's own values are counted in its views
  (the ``row_views`` of the plan's services), in place of a stored row of that id.

With neither ``position`` nor ``known_at`` everything that the lake has counts, as in an online read now;
``filter_by_created_timestamp=True`` is the same as ``known_at`` = ``event_timestamp``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake import delta, schema
from stream_jobs.lake.reading import quote, scan
from stream_jobs.offline import asked
from stream_jobs.offline.join import Cut, Questions
from stream_jobs.plan import View

EVENT_TIMESTAMP, POSITION, KNOWN_AT, ROW_IN_HAND = "event_timestamp", "position", "known_at", "row_in_hand"
RESERVED = frozenset({EVENT_TIMESTAMP, POSITION, KNOWN_AT, ROW_IN_HAND, "row_number"})
"""What a column of a service's row cannot be called; ``row_number`` is how the order of training rows is kept."""


def rows_of(connection: duckdb.DuckDBPyConnection, here: Context, sql: str) -> pa.Table:
    """The entity frame that a statement gives, in DuckDB's SQL.

    It may read the lake as ``changes."<source>.<schema>.<table>"`` and ``state."…"``. Raises OfflineStoreError.
    """
    scenario = plan.read(here.layout.plan_file) if here.layout.plan_file.exists() else plan.Plan("", (), (), ())
    for name, folder, columns in (
        ("changes", here.names.lake_changes, schema.changes), ("state", here.names.lake_state, schema.state)
    ):  # fmt: skip
        connection.execute(f"CREATE SCHEMA {name}")
        for table in scenario.tables:
            path = here.layout.lake / folder(table.source, table.table)
            if delta.exists(path):
                view = f"{name}.{quote(f'{table.source}.{table.table}')}"
                connection.execute(f"CREATE VIEW {view} AS FROM {scan(path, columns(table))}")
    try:
        return connection.sql(sql).to_arrow_table()
    except (duckdb.Error, AttributeError) as error:
        raise OfflineStoreError("offline.frame", f"the entity frame's SQL gives no rows: {error}") from error


class Frame:
    """An entity frame, checked. ``rows`` is the frame as given."""

    def __init__(self, entity_df: Any, known_at_event: bool) -> None:
        if not isinstance(entity_df, pd.DataFrame | pa.Table):
            raise OfflineStoreError(
                "offline.frame", f"the entity frame is a {type(entity_df).__name__}, expected a pandas or arrow table",
                hint="or the text of an SQL query for DuckDB, with an event_timestamp column",
            )  # fmt: skip
        table = entity_df if isinstance(entity_df, pa.Table) else pa.Table.from_pandas(entity_df, preserve_index=False)
        self.rows: pa.Table = table
        self._asked: dict[str, Any] = {
            asked.QUESTION: pa.array(np.arange(table.num_rows)),
            asked.AS_OF: self._times(self.event_timestamp),
        }
        self.cut = self._cut(known_at_event)

    @property
    def names(self) -> list[str]:
        names: list[str] = self.rows.column_names
        return names

    @property
    def event_timestamp(self) -> str:
        """``event_timestamp``, or the only other column of times, as Feast has it. Raises OfflineStoreError."""
        if EVENT_TIMESTAMP in self.names:
            return EVENT_TIMESTAMP
        times: list[str] = [
            each.name for each in self.rows.schema if pa.types.is_timestamp(each.type) and each.name != KNOWN_AT
        ]
        if len(times) != 1:
            raise OfflineStoreError(
                "offline.frame", f"the entity frame has no column {EVENT_TIMESTAMP!r}, and times in columns {times}"
            )
        return times[0]

    def _cut(self, known_at_event: bool) -> Cut:
        if POSITION in self.names and (KNOWN_AT in self.names or known_at_event):
            raise OfflineStoreError("offline.frame", "the entity frame gives both a position and a known_at cut")
        if POSITION in self.names:
            positions = self.rows[POSITION].cast(pa.string())
            fits = pc.fill_null(pc.match_substring_regex(positions, "^[0-9a-f]{32}$"), False)
            if not pc.all(fits).as_py() and len(positions):
                row = pc.index(fits, False).as_py()
                got = positions[row].as_py()
                raise OfflineStoreError(
                    "offline.frame", f"row {row} of column 'position' is {got!r}, expected 32 lower-case hex digits"
                )
            self._asked[asked.POSITION] = positions
            return "position"
        if KNOWN_AT in self.names or known_at_event:
            self._asked[asked.KNOWN_US] = self._times(self.event_timestamp if known_at_event else KNOWN_AT)
            return "known_at"
        return "all"

    def _times(self, name: str) -> pa.ChunkedArray:
        """A column of times as int64 µs."""
        if name not in self.names:
            raise OfflineStoreError("offline.frame", f"the entity frame has no column {name!r}, only {self.names}")
        column = self.rows[name]
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            column = pa.chunked_array([pa.Array.from_pandas(pd.to_datetime(column.to_pandas(), utc=True))])
        if not pa.types.is_timestamp(column.type) or column.null_count:
            raise OfflineStoreError(
                "offline.frame", f"column {name!r} is {column.type} with {column.null_count} nulls, expected times"
            )
        return column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())

    def asked(self, columns: Iterable[str]) -> pa.Table:
        """The questions, and these columns of the frame. Raises OfflineStoreError."""
        found = dict(self._asked)
        for column in columns:
            if column not in self.names:
                raise OfflineStoreError("offline.frame", f"the frame has no key {column!r}, only {self.names}")
            found[column] = self.rows[column]
        return pa.table(found)

    def questions(
        self, view: View, join_keys: Mapping[str, str], row_view: bool, relation: str
    ) -> tuple[pa.Table, Questions]:
        """The table to register as ``relation``, and what it asks. join_keys: the view's key → the frame's column."""
        keys = [join_keys.get(key, key) for key in view.join_keys]
        table = self.asked(keys)
        columns: dict[str, Any] = dict(zip(table.column_names, table.columns, strict=True))
        columns.update(zip(view.join_keys, [self.rows[column] for column in keys], strict=True))
        in_hand = row_view and ROW_IN_HAND in self.names
        if in_hand:
            missing = [name for name in view.row_columns if name not in self.names]
            if missing:
                raise OfflineStoreError(
                    "offline.frame", f"a row in hand needs columns {missing} for view {view.name!r}"
                )
            columns[asked.IN_HAND] = self.rows[ROW_IN_HAND]
            columns.update((name, self.rows[name]) for name in view.row_columns)
        return pa.table(columns), Questions(relation, self.rows.num_rows, self.cut, in_hand)
