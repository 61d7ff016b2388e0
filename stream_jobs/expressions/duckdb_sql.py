"""An expression in DuckDB's SQL, over columns of the lake."""

from __future__ import annotations

from collections.abc import Callable

from stream_jobs.expressions.text import Dialect


def dialect(column: Callable[[str], str]) -> Dialect:
    """column: SQL of a column by its name: decimals as BIGINT scaled by 10^scale, times as BIGINT µs."""
    return Dialect(
        column=column,
        wide=lambda text: f"CAST({text} AS HUGEINT)",
        narrow=lambda text: f"TRY_CAST({text} AS BIGINT)",
        text="VARCHAR",
    )
