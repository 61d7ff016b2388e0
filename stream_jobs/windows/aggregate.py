"""Aggregates over many slices of one column, each value exact until its last, correctly rounded step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.records import Value
from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows.values import border

_INT64 = 2**63


@dataclass(frozen=True)
class Values:
    """A column's non-null values [m], entity after entity, each in (event time, position, row id) order."""

    column: Column
    array: NDArray[Any]

    @property
    def integers(self) -> bool:
        return self.array.dtype.kind in "ib"

    @cached_property
    def largest(self) -> int:
        """The largest magnitude among integers."""
        return max(int(self.array.max()), -int(self.array.min())) if len(self.array) else 0

    @cached_property
    def running(self) -> NDArray[np.int64]:
        """[m + 1] sums of the first 0, 1, … m integers, modulo 2⁶⁴."""
        sums = np.zeros(len(self.array) + 1, np.int64)
        np.cumsum(self.array, dtype=np.int64, out=sums[1:])
        return sums


@dataclass(frozen=True)
class Slices:
    """G slices of values, in their order: slice g is values.array[starts[g]:ends[g]]; starts, ends: [G]."""

    values: Values
    starts: NDArray[np.intp]
    ends: NDArray[np.intp]

    @property
    def column(self) -> Column:
        return self.values.column

    @cached_property
    def counts(self) -> list[int]:
        counts: list[int] = (self.ends - self.starts).tolist()
        return counts

    def lists(self) -> list[list[Any]]:
        """The slices as Python lists."""
        spans = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return [self.values.array[start:end].tolist() for start, end in spans]

    @cached_property
    def sums(self) -> list[int] | list[float]:
        """Exact sums of integers; correctly rounded sums of floats, whatever their order.

        A difference of running sums is right modulo 2⁶⁴, so exact wherever the slice's own sum fits in 64 bits.
        """
        if not self.values.integers:
            return [math.fsum(values) for values in self.lists()]
        if self.values.largest * max(self.counts) >= _INT64:
            return [sum(values) for values in self.lists()]
        sums: list[int] = (self.values.running[self.ends] - self.values.running[self.starts]).tolist()
        return sums


def _count(slices: Slices, feature: WindowFeature) -> list[Value]:
    return list(slices.counts)


def _sum(slices: Slices, feature: WindowFeature) -> list[Value]:
    return [border(slices.column, total) for total in slices.sums]


def _mean(slices: Slices, feature: WindowFeature) -> list[Value]:
    unit = 10**slices.column.scale if slices.column.type == "decimal" else 1
    return [total / (count * unit) if count else None for total, count in zip(slices.sums, slices.counts, strict=True)]


def _std(slices: Slices, feature: WindowFeature) -> list[Value]:
    if not slices.values.integers:
        return [_float_std(values) for values in slices.lists()]
    unit = 10**slices.column.scale if slices.column.type == "decimal" else 1
    stds: list[Value] = []
    for values, total, count in zip(slices.lists(), slices.sums, slices.counts, strict=True):
        if count < 2:
            stds.append(None)
            continue
        spread = count * sum(value * value for value in values) - int(total) ** 2
        stds.append(math.sqrt(spread / (count * (count - 1) * unit * unit)))
    return stds


def _float_std(values: Sequence[float]) -> float | None:
    """Two passes, each sum correctly rounded, so that order does not matter.

    A square is a product, rounded once; ``** 2`` is the C library's pow, whose last digit may be another.
    """
    if len(values) < 2:
        return None
    mean = math.fsum(values) / len(values)
    away = [value - mean for value in values]
    return math.sqrt(math.fsum([value * value for value in away]) / (len(values) - 1))


def _extreme(ufunc: np.ufunc, python: Callable[[list[Any]], Any]) -> Callable[[Slices, WindowFeature], list[Value]]:
    def aggregate(slices: Slices, feature: WindowFeature) -> list[Value]:
        if slices.values.array.dtype == object:
            return [python(values) if values else None for values in slices.lists()]
        found: list[Value] = [None] * len(slices.counts)
        filled = np.flatnonzero(slices.ends > slices.starts)
        if not len(filled):
            return found
        # reduceat takes [start₀, end₀, start₁, end₁, …]; every second result is a slice's, the others lie between.
        edges = np.empty(2 * len(filled), np.intp)
        edges[0::2], edges[1::2] = slices.starts[filled], slices.ends[filled]
        if edges[-1] == len(slices.values.array):
            edges = edges[:-1]
        values = ufunc.reduceat(slices.values.array, edges)[0::2].tolist()
        for group, value in zip(filled.tolist(), values, strict=True):
            found[group] = border(slices.column, value)
        return found

    return aggregate


def _count_distinct(slices: Slices, feature: WindowFeature) -> list[Value]:
    return [len(set(values)) for values in slices.lists()]


def _first(slices: Slices, feature: WindowFeature) -> list[Value]:
    pairs = zip(slices.starts.tolist(), slices.counts, strict=True)
    return [border(slices.column, _plain(slices.values.array[start])) if count else None for start, count in pairs]


def _last(slices: Slices, feature: WindowFeature) -> list[Value]:
    pairs = zip(slices.ends.tolist(), slices.counts, strict=True)
    return [border(slices.column, _plain(slices.values.array[end - 1])) if count else None for end, count in pairs]


def _last_n(slices: Slices, feature: WindowFeature) -> list[Value | list[Value]]:
    """At most n values, the oldest first; null for an empty window."""
    return [[border(slices.column, value) for value in values[-feature.n :]] or None for values in slices.lists()]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


AGGREGATES: dict[str, Callable[[Slices, WindowFeature], Sequence[Value | list[Value]]]] = {
    "count": _count,
    "sum": _sum,
    "mean": _mean,
    "std": _std,
    "min": _extreme(np.minimum, min),
    "max": _extreme(np.maximum, max),
    "count_distinct": _count_distinct,
    "first": _first,
    "last": _last,
    "last_n": _last_n,
}
NUMERIC = frozenset({"sum", "mean", "std"})
"""Functions of numbers and bools (false 0, true 1) only; the others take every column type."""
