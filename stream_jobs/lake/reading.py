"""Reading the lake: DuckDB relations over the files of a Delta table's version.

DuckDB's own Delta extension needs a download, so the file list comes from the Delta log and DuckDB reads the parquet.
A reader keeps its file list while the writer goes on: compaction adds files and old ones stay for the retention time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from appliance.parts.base import Context
from stream_jobs.lake import delta, schema
from stream_jobs.plan import CapturedTable


@dataclass(frozen=True)
class Limits:
    """What one connection may use."""

    memory_mib: int = 1024
    threads: int = 2


def connect(scratch: Path, limits: Limits | None = None) -> duckdb.DuckDBPyConnection:
    """A connection that spills to ``scratch`` instead of growing past its limit, with UTC as its time zone."""
    limits = limits or Limits()
    scratch.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(
        config={
            "memory_limit": f"{limits.memory_mib}MiB",
            "threads": limits.threads,
            "temp_directory": str(scratch),
            "preserve_insertion_order": False,
            "parquet_metadata_cache": True,  # a file of the lake is never written again under its name
            "autoinstall_known_extensions": False,
        }
    )
    return session(connection)


def session(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A connection, or a cursor of one (which starts with the machine's time zone), with UTC as its time zone."""
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def scan(path: Path, columns: pa.Schema, version: int | None = None) -> str:
    """SQL text of a table expression with these columns over a Delta table; an empty one if it has no files.

    A column that a file lacks, because it was added later, is null. Raises LakeError when there is no such table.
    """
    files = delta.active_files(delta.open_table(path, version))
    names = ", ".join(quote(field.name) for field in columns)
    typed = ", ".join(f"NULL::{sql_type(field.type)} AS {quote(field.name)}" for field in columns)
    if not files:
        return f"(SELECT {typed} WHERE false)"
    listed = ", ".join(literal(file) for file in files)
    stored = f"FROM read_parquet([{listed}], union_by_name = true, hive_partitioning = true)"
    return f"(SELECT {names} FROM ({stored} UNION ALL BY NAME SELECT {typed} WHERE false))"


def changes(
    context: Context, connection: duckdb.DuckDBPyConnection, table: CapturedTable, version: int | None = None
) -> duckdb.DuckDBPyRelation:
    """Every change of a captured table, in no order; columns as in ``schema.changes``."""
    path = context.layout.lake / context.names.lake_changes(table.source, table.table)
    return connection.sql(f"FROM {scan(path, schema.changes(table), version)}")


def state(
    context: Context, connection: duckdb.DuckDBPyConnection, table: CapturedTable, version: int | None = None
) -> duckdb.DuckDBPyRelation:
    """Current row of each primary key, which may lag behind the changes; columns as in ``schema.state``."""
    path = context.layout.lake / context.names.lake_state(table.source, table.table)
    return connection.sql(f"FROM {scan(path, schema.state(table), version)}")


def ledger(context: Context, connection: duckdb.DuckDBPyConnection, service: str) -> duckdb.DuckDBPyRelation:
    """Every prediction of a service; columns as in ``schema.LEDGER``."""
    path = context.layout.lake / context.names.lake_ledger(service)
    return connection.sql(f"FROM {scan(path, schema.LEDGER)}")


def flat(
    context: Context, connection: duckdb.DuckDBPyConnection, folder: str, columns: pa.Schema
) -> duckdb.DuckDBPyRelation:
    """A table of feedback or of shadow scores, with no row while its folder is not there."""
    path = context.layout.lake / folder
    if not delta.exists(path):
        return connection.from_arrow(columns.empty_table())
    return connection.sql(f"FROM {scan(path, columns)}")


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def sql_type(kind: pa.DataType) -> str:
    """DuckDB's name of an arrow type of the lake."""
    if pa.types.is_decimal(kind):
        return f"DECIMAL(38, {kind.scale})"
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    return {pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.int8(): "TINYINT",
            pa.binary(): "BLOB", pa.float64(): "DOUBLE", pa.string(): "VARCHAR",
            pa.bool_(): "BOOLEAN", pa.date32(): "DATE"}[kind]  # fmt: skip
