"""A view's derived columns and its filter of rows, ready to be computed: of a row in hand, or as SQL over the lake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from appliance.records import Value
from stream_jobs.expressions import duckdb_sql, evaluate
from stream_jobs.expressions.node import Node
from stream_jobs.expressions.parsing import parse
from stream_jobs.plan import Column, View
from stream_jobs.windows.values import Exact, exact


@dataclass(frozen=True)
class Transformation:
    """derived: column → expression. rows: what a row must satisfy to be a row of the view. reads: captured columns."""

    derived: Mapping[str, Node]
    rows: Node | None
    reads: tuple[Column, ...]

    def columns_of(self, row: Mapping[str, Value]) -> dict[str, Value] | None:
        """The derived columns of a row as an edit carries them; None if it is no row of the view.

        Raises EditError for a value that does not fit its column.
        """
        given = {column.name: exact(column, row.get(column.name)) for column in self.reads}
        if self.rows is not None and evaluate.function(self.rows)(given) is not True:
            return None
        return {name: _wire(node, evaluate.function(node)(given)) for name, node in self.derived.items()}

    def column_sql(self, name: str, captured: Callable[[str], str]) -> str:
        """DuckDB's SQL of a derived column, decimals as BIGINT scaled by 10^scale. captured: SQL of a captured column,
        in the same form."""
        return duckdb_sql.dialect(captured).sql(self.derived[name])

    def rows_sql(self, captured: Callable[[str], str]) -> str:
        """DuckDB's condition, TRUE or FALSE."""
        return "true" if self.rows is None else duckdb_sql.dialect(captured).condition(self.rows)


@lru_cache(maxsize=256)
def of(view: View) -> Transformation:
    """Of a view of the plan, whose expressions the compiler has checked."""
    columns = {column.name: column for column in view.reads}
    where = f"view {view.name!r}"
    return Transformation(
        derived={one.name: parse(one.sql, columns, where) for one in view.derived},
        rows=parse(view.rows.sql, columns, where) if view.rows else None,
        reads=view.reads,
    )


def _wire(node: Node, value: Exact) -> Value:
    if node.type == "decimal" and isinstance(value, int):
        return f"{Decimal(value).scaleb(-node.scale):f}"
    return value
