"""The same expression in Python and in DuckDB, on rows of edge cases and on random ones; what is refused."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_jobs.errors import CompileError
from stream_jobs.expressions import duckdb_sql, evaluate
from stream_jobs.expressions.node import Node
from stream_jobs.expressions.parsing import canonical, parse
from stream_jobs.lake.reading import quote
from tests.unit.stream_jobs.expressions.cases import COLUMNS, EDGES, EXPRESSIONS, rows

_ARROW = {"int64": pa.int64(), "decimal": pa.int64(), "timestamp_us": pa.int64(), "float64": pa.float64(),
          "string": pa.string(), "bool": pa.bool_()}  # fmt: skip


def parsed(text: str) -> Node:
    return parse(text, COLUMNS, "view 'v', column 'c'")


def in_duckdb(nodes: list[Node], given: list[dict[str, Any]]) -> list[list[Any]]:
    table = pa.table({n: pa.array([row[n] for row in given], _ARROW[c.type]) for n, c in COLUMNS.items()})
    dialect = duckdb_sql.dialect(quote)
    with duckdb.connect() as connection:
        connection.register("given", table)
        listed = ", ".join(f"{dialect.sql(node)} AS c{i}" for i, node in enumerate(nodes))
        found = connection.sql(f"SELECT {listed} FROM given").to_arrow_table()
    return [column.to_pylist() for column in found.columns]


def in_python(node: Node, given: list[dict[str, Any]]) -> list[Any]:
    function = evaluate.function(node)
    return [function(row) for row in given]


def test_python_and_duckdb_agree_on_every_edge_case() -> None:
    given = rows(3000)
    nodes = [parsed(text) for text in EXPRESSIONS]
    for text, node, column in zip(EXPRESSIONS, nodes, in_duckdb(nodes, given), strict=True):
        for row, mine, theirs in zip(given, in_python(node, given), column, strict=True):
            assert (mine, type(mine)) == (theirs, type(theirs)), (text, row)


_NUMBERS = st.recursive(
    st.sampled_from(["n", "m", "amount", "rate", "1", "0.01", "-3", "4000000000", "NULL + n"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda each: f"-({each})"),
        st.tuples(inner, inner).map(lambda t: f"COALESCE({t[0]}, {t[1]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"CASE WHEN {t[0]} < {t[1]} THEN {t[2]} ELSE {t[1]} END"),
    ),
    max_leaves=6,
)
_CONDITIONS = st.recursive(
    st.one_of(
        st.tuples(_NUMBERS, st.sampled_from(["=", "<>", "<", ">="]), _NUMBERS).map(lambda t: f"{t[0]} {t[1]} {t[2]}"),
        _NUMBERS.map(lambda each: f"({each}) IS NULL"),
        st.sampled_from(["ok", "country = 'AT'", "country IN ('', 'at')", "weight > 0.5", "ok IS FALSE"]),
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["AND", "OR"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        inner.map(lambda each: f"NOT ({each})"),
    ),
    max_leaves=5,
)


@settings(max_examples=150)
@given(st.one_of(_NUMBERS, _CONDITIONS), st.data())
def test_python_and_duckdb_agree_on_random_expressions_and_rows(text: str, data: st.DataObject) -> None:
    try:
        node = parsed(text)
    except CompileError as error:
        assert error.code == "compile.expression"
        return
    value: dict[str, st.SearchStrategy[Any]] = {
        name: st.one_of(st.sampled_from(edges), st.integers(-(2**63) + 1, 2**63 - 1)) if name in ("n", "m") else
        st.one_of(st.sampled_from(edges), st.integers(-(10**18), 10**18)) if name in ("amount", "rate") else
        st.sampled_from(edges)
        for name, edges in EDGES.items()
    }  # fmt: skip
    given = data.draw(st.lists(st.fixed_dictionaries(value), min_size=1, max_size=20))
    assert in_python(node, given) == in_duckdb([node], given)[0]


def test_numbers_are_exact_decimals() -> None:
    node = parsed("amount * rate - 0.005")
    assert (node.type, node.scale) == ("decimal", 6)
    row = {name: None for name in COLUMNS} | {"amount": 1234, "rate": 15_000}
    value = evaluate.function(node)(row)
    assert Decimal(value).scaleb(-6) == Decimal("12.34") * Decimal("1.5000") - Decimal("0.005")


def test_what_does_not_fit_in_64_bits_is_null() -> None:
    row = {name: None for name in COLUMNS} | {"n": 2**63 - 1, "m": 1}
    assert evaluate.function(parsed("n + m"))(row) is None
    assert evaluate.function(parsed("n + m IS NULL"))(row) is True
    assert evaluate.function(parsed("-n - m"))(row) is None


def test_however_it_is_written_it_is_the_same_definition() -> None:
    same = ["country <> 'AT'", "NOT (country = 'AT')", " country!='AT' "]
    assert len({canonical(parsed(text)) for text in same}) == 1
    assert canonical(parsed("amount + 1")) != canonical(parsed("amount + 2"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere = 1", "is no column of the table"),
        ("n / m", "quotient is rounded"),
        ("n % m", "different signs"),
        ("upper(country) = 'AT'", "capital letters"),
        ("country < 'AT'", "orders strings"),
        ("country LIKE 'A%'", "escape patterns"),
        ("weight + 1 > 2", "floating point arithmetic"),
        ("weight > n", "mixes float64"),
        ("country = n", "mixes"),
        ("n AND ok", "expected a condition"),
        ("sum(n)", "declared as aggregations"),
        ("n = (SELECT 1)", "join as of the commit is not built"),
        ("current_timestamp > at", "each time it is computed"),
        ("CAST(amount AS BIGINT)", "is not exact"),
        ("1e5 + n", "without exponent"),
        ("99999999999999999999", "fits in 64 bits"),
        ("rate * rate * rate * rate * rate", "digits after the point"),
        ("regexp_matches(country, 'A')", "not on the list"),
        ("n +", "no SQL expression"),
        ("NULL", "always NULL"),
        ("COALESCE(NULL, NULL)", "everything in it is NULL"),
    ],
)
def test_what_is_not_the_same_everywhere_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(CompileError) as refused:
        parsed(text)
    assert said in refused.value.message and "column 'c'" in refused.value.message
