"""A table's columns, rows of edge cases, and expressions over them."""

from __future__ import annotations

from itertools import product

from stream_jobs.plan import Column

COLUMNS = {
    column.name: column
    for column in (
        Column("n", "int64"), Column("m", "int64"), Column("amount", "decimal", 2), Column("rate", "decimal", 4),
        Column("weight", "float64"), Column("country", "string"), Column("ok", "bool"), Column("at", "timestamp_us"),
    )
}  # fmt: skip

EDGES: dict[str, list[object]] = {
    "n": [None, 0, 1, -1, 2**63 - 1, -(2**63) + 1, 2**32, 3_037_000_500],
    "m": [None, 0, -7, 3_037_000_500, -(2**62)],
    "amount": [None, 0, -50, 123_45, 999_999_999_999_999_999],
    "rate": [None, 0, 1, -10_000, 25_000],
    "weight": [None, 0.0, -0.5, 1.5, 1e300],
    "country": [None, "", "AT", "at", "A'T", "ÖÄ€", " AT"],
    "ok": [None, True, False],
    "at": [None, 0, 1_500_000_000_000_000],
}
"""In exact form."""

EXPRESSIONS = (
    "country <> 'AT'", "country IN ('AT', 'ÖÄ€', 'A''T')", "country NOT IN ('AT', '')", "NOT country = 'AT' OR ok",
    "n + m", "n - m", "n * m", "-n", "n * m * n", "n * 2 + m", "(n + m) * (n - m)", "amount * rate", "amount + rate",
    "amount + 1", "amount * 100", "n * amount", "amount - 0.005", "CAST(n AS DECIMAL(18, 3)) + amount",
    "n = m", "n < m", "n >= amount", "amount BETWEEN 0 AND 123.45", "amount <= rate", "n IS NULL", "n IS NOT NULL",
    "weight > 1.5", "weight = 0", "weight <= -0.5", "at < at", "ok = TRUE", "ok IS TRUE", "ok IS NOT FALSE",
    "ok AND n > 0", "ok OR n > 0", "NOT ok", "NOT (ok AND country = 'AT')", "CAST(ok AS BIGINT) * 5",
    "COALESCE(n, m, 0)", "COALESCE(amount, 1)", "COALESCE(country, 'none')", "COALESCE(ok, n > 3)",
    "CASE WHEN ok THEN 'yes' WHEN n > 0 THEN 'positive' ELSE country END", "CASE WHEN n > m THEN amount END",
    "CASE country WHEN 'AT' THEN 1 WHEN 'at' THEN 2.5 ELSE 0 END", "CASE WHEN amount > 100 THEN amount ELSE NULL END",
    "CASE WHEN ok THEN weight ELSE 1.25 END", "CASE WHEN ok THEN at END", "1", "'x'", "0.10", "TRUE",
)  # fmt: skip


def rows(most: int) -> list[dict[str, object]]:
    """At most so many rows, spread over all combinations of the edges."""
    names = list(EDGES)
    every = list(product(*EDGES.values()))
    step = max(1, len(every) // most) | 1
    return [dict(zip(names, values, strict=True)) for values in every[::step]]
