"""Current-state tables: each primary key's newest row, taken from the change table.

The application ids are those of the change table: partition → the last offset whose change the state holds. So a state
table is brought up to date from any moment on, and building it anew is deleting its folder.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

from stream_jobs.lake import delta, schema
from stream_jobs.lake.reading import quote, scan
from stream_jobs.plan import CapturedTable

_BATCH_ROWS = 100_000


def refresh(connection: duckdb.DuckDBPyConnection, table: CapturedTable, changes: Path, state: Path) -> int:
    """Bring the state up to the change table's newest version; returns the number of keys that were looked at.

    Memory is bounded by the connection's limit and, for a merge, by the keys that changed since the last time.
    """
    if not delta.exists(changes):
        return 0
    source = delta.open_table(changes)
    target = delta.create(state, schema.state(table), None)
    reached, merged = delta.reached(source), delta.reached(target)
    behind = {name: version for name, version in reached.items() if merged.get(name, -1) < version}
    if not behind:
        return 0
    new = _new(merged)
    from_changes = scan(changes, schema.changes(table), source.version())
    truncates = connection.execute(f"SELECT max(position) FROM {from_changes} WHERE op = 't' AND {new}")
    truncated: str | None = truncates.fetchall()[0][0]
    keys = _newest(connection, table, f"{from_changes} WHERE op <> 't' AND {new}", truncated)
    properties = CommitProperties(app_transactions=[Transaction(name, version) for name, version in behind.items()])
    columns = schema.state(table)
    rows = connection.sql("FROM state_newest")
    if truncated is not None or _any_stored(connection, table, state):
        _merge(table, target, rows.to_arrow_reader(_BATCH_ROWS), truncated, properties)
    else:
        names = ", ".join(quote(field.name) for field in columns)
        live = rows.filter("NOT deleted").project(names).to_arrow_reader(_BATCH_ROWS)
        write_deltalake(target, live, mode="append", commit_properties=properties)
    connection.execute("DROP TABLE state_newest")
    return keys


def _new(merged: dict[str, int]) -> str:
    """SQL condition: the change is not in the state yet."""
    conditions = [
        f'("partition" <> {name.rpartition("/")[2]} OR "offset" > {version})' for name, version in merged.items()
    ]
    return " AND ".join(conditions) or "true"


def _newest(connection: duckdb.DuckDBPyConnection, table: CapturedTable, new: str, truncated: str | None) -> int:
    """``state_newest``: the last change of each key among the new ones, and whether it took the row out. How many."""
    keys = ", ".join(quote(key) for key in table.primary_key)
    images = ", ".join(
        f"CASE WHEN op = 'd' THEN {quote('before_' + c.name)} ELSE {quote('after_' + c.name)} END AS {quote(c.name)}"
        for c in table.columns
    )
    gone = "op = 'd'" + (f" OR position < '{truncated}'" if truncated is not None else "")
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE state_newest AS
        SELECT * EXCLUDE (op), {gone} AS deleted
        FROM (SELECT op, position, known_at, assumed, {images} FROM {new})
        QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY position DESC, op = 'd') = 1
        """
    )
    return int(connection.execute("SELECT count(*) FROM state_newest").fetchall()[0][0])


def _any_stored(connection: duckdb.DuckDBPyConnection, table: CapturedTable, state: Path) -> bool:
    keys = ", ".join(quote(key) for key in table.primary_key)
    stored = scan(state, schema.state(table))
    return bool(connection.execute(f"SELECT 1 FROM {stored} SEMI JOIN state_newest USING ({keys}) LIMIT 1").fetchall())


def _merge(
    table: CapturedTable,
    target: DeltaTable,
    rows: pa.RecordBatchReader,
    truncated: str | None,
    properties: CommitProperties,
) -> None:
    """One commit: rows taken out are deleted, newer ones replace, new ones are added, truncated ones are deleted."""
    names = [field.name for field in schema.state(table)]
    same_key = " AND ".join(f"s.{quote(key)} = t.{quote(key)}" for key in table.primary_key)
    values = {quote(name): f"s.{quote(name)}" for name in names}
    merge = target.merge(
        rows, same_key, source_alias="s", target_alias="t", merge_schema=False, commit_properties=properties
    )
    merge = (
        merge.when_matched_delete("s.deleted AND s.position >= t.position")
        .when_matched_update(values, "NOT s.deleted AND s.position >= t.position")
        .when_not_matched_insert(values, "NOT s.deleted")
    )
    if truncated is not None:
        merge = merge.when_not_matched_by_source_delete(f"t.position < '{truncated}'")
    merge.execute()
