"""Partial aggregates: what a part of a window's rows says, so that parts can be put together.

The law, tested in ``tests/unit/stream_jobs/windows/test_partials.py``: ``merge`` is associative and commutative,
``NOTHING`` is its identity, and of disjoint sets of rows A and B ``of(A | B) = merge(of(A), of(B))``. Each function of
a window is a function of the partial of its rows:

| function           | what is kept                              | how two are merged      |
|--------------------|-------------------------------------------|-------------------------|
| count, mean, sum   | count and exact sum                       | added                   |
| std                | count, exact sum, exact sum of squares    | added                   |
| min, max           | the least, the greatest value             | the lesser, the greater |
| count distinct     | the set of values                         | united                  |
| first, last        | value with (event time, position, row id) | the lesser, the greater key |
| last n             | the n values with the greatest keys       | the n greatest of both  |

Sums of floats are kept as fractions: exact as well, rounded once at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

from appliance.records import Value
from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows.values import border

Key = tuple[int, int, int, int]
"""Event time, two halves of the position, row id."""
Keyed = tuple[Key, Any]


class Partial(NamedTuple):
    """Of the non-null values of some rows, in exact form. total, squares: 0 for texts.

    first, last, recent: with their keys; recent: at most n, the youngest last. A part that nobody asks for may be left
    as it is here, in each of those that are merged.
    """

    count: int = 0  # type: ignore[assignment]
    total: int | Fraction = 0
    squares: int | Fraction = 0
    least: Any = None
    most: Any = None
    distinct: frozenset[Any] = frozenset()
    first: Keyed | None = None
    last: Keyed | None = None
    recent: tuple[Keyed, ...] = ()


NOTHING = Partial()


def of(rows: Iterable[Keyed], n: int = 1) -> Partial:
    """The partial of rows, each with its key; n: how many values to keep for last n."""
    rows = sorted(rows, key=lambda row: row[0])
    if not rows:
        return NOTHING
    values = [value for _, value in rows]
    exact = [Fraction(v) if isinstance(v, float) else v for v in values if not isinstance(v, str)]
    return Partial(
        len(rows), sum(exact), sum(one * one for one in exact), min(values), max(values), frozenset(values), rows[0],
        rows[-1], tuple(rows[-n:]),
    )  # fmt: skip


def merge(one: Partial, other: Partial, n: int = 1) -> Partial:
    """The partial of two disjoint sets of rows."""
    if not one.count or not other.count:
        return one if one.count else other
    both = sorted((*one.recent, *other.recent), key=lambda row: row[0]) if one.recent or other.recent else []
    firsts, lasts = _kept(one.first, other.first), _kept(one.last, other.last)
    return Partial(
        one.count + other.count,
        one.total + other.total,
        one.squares + other.squares,
        None if one.least is None else min(one.least, other.least),
        None if one.most is None else max(one.most, other.most),
        one.distinct | other.distinct,
        min(firsts, key=lambda row: row[0]) if firsts else None,
        max(lasts, key=lambda row: row[0]) if lasts else None,
        tuple(both[-n:]),
    )


def _kept(*parts: Any) -> list[Any]:
    return [part for part in parts if part is not None]


def value(feature: WindowFeature, column: Column, partial: Partial) -> Value | list[Value]:
    """A feature's value, as ``aggregate`` gives it. column: of the feature; for count(*) any."""
    count = partial.count
    if count == 0 and feature.default is not None:
        return feature.default
    function = feature.function
    if function == "count":
        return count
    if function == "count_distinct":
        return len(partial.distinct)
    if function == "sum":
        total = partial.total
        return border(column, float(total) if column.type == "float64" else int(total))
    if count == 0:
        return None
    return _of_rows(feature, column, partial)


def _of_rows(feature: WindowFeature, column: Column, partial: Partial) -> Value | list[Value]:
    count, function = partial.count, feature.function
    unit = 10**column.scale if column.type == "decimal" else 1
    if function == "mean":
        return partial.total / (count * unit) if isinstance(partial.total, int) else float(partial.total) / count
    if function == "std":
        if count < 2:
            return None
        spread = count * partial.squares - partial.total**2
        return math.sqrt(spread / (count * (count - 1) * unit * unit))
    if function == "last_n":
        return [border(column, one) for _, one in partial.recent[-feature.n :]]
    if function in ("first", "last"):
        keyed = partial.first if function == "first" else partial.last
        return None if keyed is None else border(column, keyed[1])
    return border(column, partial.least if function == "min" else partial.most)
