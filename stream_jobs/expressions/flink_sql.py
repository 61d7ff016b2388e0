"""An expression in Flink's SQL.

Products are computed in DECIMAL(38, 0), which holds any product of two 19-digit numbers. Flink's own narrowing of a
decimal wraps round silently; of a text it gives null, so a result goes through text. A literal text is cast to STRING:
in a CASE the shorter of two CHAR literals would be padded.
"""

from __future__ import annotations

from collections.abc import Callable

from stream_jobs.expressions.text import Dialect


def dialect(column: Callable[[str], str]) -> Dialect:
    """column: SQL of a column by its name: decimals as BIGINT scaled by 10^scale, times as BIGINT µs."""
    return Dialect(
        column=column,
        wide=lambda text: f"CAST({text} AS DECIMAL(19, 0))",
        narrow=lambda text: f"TRY_CAST(CAST({text} AS STRING) AS BIGINT)",
        text="STRING",
    )
