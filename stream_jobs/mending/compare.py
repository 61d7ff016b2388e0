"""Which images of rows the edit log still counts although the table has them no longer.

The edit log takes an image out when a change says it as its ``before``. So an image counts from its last ``after``
until a later ``before`` with just these values. What counts and is not in the table now is to be taken out: rows that a
truncate or a lost log made go without a delete, and former values of rows whose change came without its old image.
"""

from __future__ import annotations

from pathlib import Path

from stream_jobs.lake import schema
from stream_jobs.lake.reading import quote, scan, sql_type
from stream_jobs.mending.changes import wire_sql
from stream_jobs.plan import CapturedTable


def expected_after_truncate(table: CapturedTable) -> str:
    """Nothing. SQL text of images; columns as captured."""
    return f"(SELECT {_columns(table)} FROM {_empty(table)})"


def expected_in_snapshot(table: CapturedTable, changes: Path, position: str) -> str:
    """The rows of the snapshot at that position. SQL text of images; columns as captured."""
    after = ", ".join(f"{quote('after_' + column.name)} AS {quote(column.name)}" for column in table.columns)
    return f"""(SELECT DISTINCT {after} FROM {scan(changes, schema.changes(table))}
                WHERE op = 'r' AND position = '{position}')"""


def expected_since(table: CapturedTable, live: str, position: str) -> str:
    """The rows of ``live`` that a change or a snapshot brought after that position. SQL text, columns as captured."""
    return f"(SELECT {_columns(table)} FROM {live} WHERE position > '{position}')"


def stray(table: CapturedTable, changes: Path, position: str, expected: str) -> str:
    """SQL text: the images that count at the position and are not among the expected ones.

    Columns: those of the image, then ``now_<column>`` of the expected row with the same key, and ``_there``: whether
    there is one. Null equals null here. In no order.
    """
    columns = _columns(table)
    images = " UNION ALL ".join(
        f"""SELECT {", ".join(f"{quote(f'{image}_{c.name}')} AS {quote(c.name)}" for c in table.columns)},
            {"position, ''" if image == "after" else "'', position"} FROM known WHERE op IN ({ops})"""
        for image, ops in (("after", "'c', 'r', 'u'"), ("before", "'d', 'u'"))
    )
    keys = " AND ".join(f"stray.{quote(key)} = expected.{quote(key)}" for key in table.primary_key)
    there = f"expected.{quote(table.primary_key[0])} IS NOT NULL"
    now = ", ".join(f"expected.{quote(c.name)} AS {quote('now_' + c.name)}" for c in table.columns)
    key = quote(table.primary_key[0])
    return f"""(
WITH known AS (
  SELECT * FROM {scan(changes, schema.changes(table))} WHERE position <= '{position}'
), expected AS (
  SELECT * FROM {expected}
), counted AS (
  SELECT {columns} FROM ({images}) AS images ({columns}, _added, _removed)
  WHERE {key} IS NOT NULL
  GROUP BY {columns} HAVING max(_added) <> '' AND max(_added) >= max(_removed)
)
SELECT stray.*, {now}, {there} AS _there
FROM (SELECT {columns} FROM counted EXCEPT SELECT {columns} FROM expected) AS stray LEFT JOIN expected ON {keys}
)"""


def wire(table: CapturedTable, strays: str) -> str:
    """SQL text: the strays with the values of both images as Debezium writes them, ``_there`` last."""
    values = [
        wire_sql(column, quote(prefix + column.name), zoneless=column.name in table.zoneless)
        for prefix in ("", "now_")
        for column in table.columns
    ]
    return f"SELECT {', '.join(values)}, _there FROM {strays}"


def _columns(table: CapturedTable) -> str:
    return ", ".join(quote(column.name) for column in table.columns)


def _empty(table: CapturedTable) -> str:
    typed = ", ".join(f"NULL::{sql_type(schema.arrow_type(c))} AS {quote(c.name)}" for c in table.columns)
    return f"(SELECT {typed} WHERE false)"
