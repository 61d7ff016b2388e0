"""Tables of a rebuild's own in DuckDB: what has been seen and what must be done, beyond what memory holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from stream_jobs.lake.reading import quote, sql_type

_PAGE = 20_000


def make(lake: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema) -> None:
    columns = ", ".join(f"{quote(field.name)} {sql_type(field.type)}" for field in schema)
    lake.execute(f"CREATE TABLE {name} ({columns})")


def insert(lake: duckdb.DuckDBPyConnection, name: str, schema: pa.Schema, page: list[Any]) -> None:
    """Add the rows of a page, tuples in the order of the schema, and empty it."""
    if not page:
        return
    columns = zip(*page, strict=True)
    rows = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
    lake.register("page", rows)
    lake.execute(f"INSERT INTO {name} FROM page")
    lake.unregister("page")
    page.clear()


def rows(lake: duckdb.DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    """The rows of a query, read as they are needed; nothing else may be asked of ``lake`` meanwhile."""
    for batch in lake.sql(sql).to_arrow_reader(_PAGE):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def number(lake: duckdb.DuckDBPyConnection, sql: str) -> int:
    """The one number that a query gives."""
    return int(lake.execute(sql).fetchall()[0][0])
