"""A view's SQL transformation: expressions over one row of a captured table, the same in stream, lake and row in hand.

``parsing``   text → ``Node``, against a list of what is exact everywhere; the rest is refused with place and reason.
``evaluate``  a node in Python, for the row in hand. ``duckdb_sql``: for the lake. ``flink_sql``: for the stream.

Semantics. Numbers are exact: int64, and decimals as int64 scaled by 10^scale; a result or intermediate result that does
not fit in 64 bits is NULL. NULL in an operand gives NULL, except for IS NULL, COALESCE, CASE, and AND and OR where the
other side decides (SQL's three-valued logic). A condition counts only when it is TRUE. Text is compared by its code
points, with = and <> only. What engines do differently (division, case of letters, text order, LIKE, floating point
arithmetic) is not there.
"""
