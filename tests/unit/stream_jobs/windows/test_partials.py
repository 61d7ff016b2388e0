"""The merge law of partial aggregates, and that they give what the rows themselves give."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows import partial
from stream_jobs.windows.aggregate import AGGREGATES, NUMERIC, Slices, Values
from tests.unit.stream_jobs.windows.test_windows_against_brute_force import same

N = 3
_VALUES = {
    "int64": st.integers(-(2**63) + 1, 2**63 - 1) | st.integers(-3, 3),
    "decimal": st.integers(-(10**9), 10**9),
    "float64": st.floats(-1e9, 1e9, allow_nan=False),
    "bool": st.booleans(),
    "string": st.sampled_from(["", "DE", "FR", "ÅL"]),
}
_KEYS = st.tuples(st.integers(0, 5), st.just(0), st.integers(0, 3), st.integers(0, 10**6))
COLUMNS = st.sampled_from([Column("x", kind, 2 if kind == "decimal" else 0) for kind in _VALUES])  # type: ignore[arg-type]


@st.composite
def rows(draw: st.DrawFn) -> tuple[Column, list[partial.Keyed]]:
    column = draw(COLUMNS)
    keys = draw(st.lists(_KEYS, max_size=12, unique_by=lambda key: key[3]))
    return column, [(key, draw(_VALUES[column.type])) for key in keys]


def test_nothing_is_the_identity() -> None:
    some = partial.of([((1, 0, 0, 1), 5)])
    assert partial.merge(some, partial.NOTHING) == partial.merge(partial.NOTHING, some) == some


@settings(max_examples=150, deadline=None)
@given(rows(), st.data())
def test_merge_is_associative_commutative_and_gives_the_partial_of_the_union(made, data) -> None:
    _, some = made
    sides = [data.draw(st.sampled_from("abc")) for _ in some]
    a, b, c = (
        partial.of([row for row, side in zip(some, sides, strict=True) if side == wanted], N) for wanted in "abc"
    )
    merge = partial.merge
    assert merge(merge(a, b, N), c, N) == merge(a, merge(b, c, N), N) == partial.of(some, N)
    assert merge(a, b, N) == merge(b, a, N)


@settings(max_examples=150, deadline=None)
@given(rows(), st.data())
def test_partials_give_what_the_rows_give(made, data) -> None:
    column, some = made
    sides = [data.draw(st.booleans()) for _ in some]
    halves = [
        partial.of([row for row, side in zip(some, sides, strict=True) if side == one], N) for one in (True, False)
    ]
    merged = partial.merge(*halves, N)
    ordered = [value for _, value in sorted(some, key=lambda row: row[0])]
    dtype = {"float64": np.float64, "bool": np.bool_, "string": np.object_}.get(column.type, np.int64)
    slices = Slices(Values(column, np.array(ordered, dtype)), np.array([0]), np.array([len(ordered)]))
    for function in AGGREGATES:
        if column.type == "string" and function in NUMERIC:
            continue
        for default in (None, -1):
            feature = WindowFeature("f", function, "x", 1, None, N, default)  # type: ignore[arg-type]
            (wanted,) = AGGREGATES[function](slices, feature)
            if not ordered and default is not None:
                wanted = default
            got = partial.value(feature, column, merged)
            if function == "std" and column.type == "float64" and wanted is not None:
                # The rows' mean is rounded, the partial's is not: the two differ by at most that rounding.
                assert abs(got - wanted) <= 1e-9 * abs(wanted) + max(map(abs, ordered), default=0.0) * 2**-51
            else:
                assert same(got, wanted, function), (function, ordered)
