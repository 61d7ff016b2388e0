"""A view's SQL transformation over the lake: changes as if the table had the derived columns and only the view's rows.

A change after which the view's filter leaves its row out becomes a delete of that row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from msgspec.structs import replace

from stream_jobs.expressions import transformation
from stream_jobs.lake.reading import quote
from stream_jobs.offline.versions import column_sql
from stream_jobs.plan import CapturedTable, Column, View

Image = Callable[[str], str]
"""SQL of a captured column by its name: of one image of a change, or of a row in hand."""


def view_values(view: View, types: Mapping[str, Column], image: Image) -> dict[str, str]:
    """Column of the view → its SQL as ``column_sql``, derived ones computed. types: the captured columns."""

    def captured(name: str) -> str:
        return column_sql(types[name], image(name))

    derived = {one.name for one in view.derived}
    return {
        c.name: transformation.of(view).column_sql(c.name, captured) if c.name in derived else captured(c.name)
        for c in view.columns
    }


def rows_condition(view: View, types: Mapping[str, Column], image: Image) -> str:
    """SQL condition, never null: a captured row is a row of the view."""
    if view.rows is None:
        return "true"
    return transformation.of(view).rows_sql(lambda name: column_sql(types[name], image(name)))


def lake_value(column: Column, value: str) -> str:
    """A value of ``view_values`` in the lake's type of its column."""
    if column.type == "decimal":
        unit = f"CAST('1e-{column.scale}' AS DECIMAL({column.scale + 1}, {column.scale}))"
        return f"(({value})::DECIMAL(19, 0) * {unit})::DECIMAL(38, {column.scale})"
    return f"make_timestamptz({value})" if column.type == "timestamp_us" else value


def transformed(view: View, table: CapturedTable, changes: str) -> tuple[CapturedTable, str]:
    """(the table with the derived columns, its changes as a relation). The same if the view has no transformation."""
    if not view.transformed:
        return table, changes

    def after(name: str) -> str:
        return quote(f"after_{name}")

    types = {column.name: column for column in table.columns}
    values = view_values(view, types, after)
    derived = [column for column in view.columns if column.name in {one.name for one in view.derived}]
    added = "".join(f", {lake_value(c, values[c.name])} AS {after(c.name)}" for c in derived)
    left_out = f"op IN ('c', 'r', 'u') AND NOT {rows_condition(view, types, after)}"
    row_id = quote(f"before_{view.row_id}")
    relation = f"""(
        SELECT * REPLACE (CASE WHEN {left_out} THEN 'd' ELSE op END AS op,
                          CASE WHEN {left_out} THEN {after(view.row_id)} ELSE {row_id} END AS {row_id}){added}
        FROM {changes})"""
    return replace(table, columns=(*table.columns, *derived)), relation
