"""The features of a view for many entities at once, each as of its own time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.records import Value
from stream_jobs.errors import WindowError
from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows.aggregate import AGGREGATES, NUMERIC, Slices
from stream_jobs.windows.edits import EditBatch

FeatureResult = Value | list[Value]

_ROW = Column("*", "int64")


@dataclass(frozen=True)
class Windows:
    """What to compute for a view: its edits' columns and its features. Checked once, used for every read.

    Raises WindowError when a feature names a column that an edit does not carry, or one that does not fit its function.
    """

    columns: tuple[Column, ...]
    features: tuple[WindowFeature, ...]

    def __post_init__(self) -> None:
        for feature in self.features:
            _check(feature, {column.name: column for column in self.columns})

    @property
    def longest_us(self) -> int:
        return max((feature.window_us for feature in self.features), default=0)


def assemble(
    windows: Windows,
    batch: EditBatch,
    group: NDArray[np.intp],
    live: NDArray[np.intp],
    as_of: NDArray[np.int64],
) -> dict[str, list[FeatureResult]]:
    """Feature name → value of each group.

    batch, group: n edits and the log [n], non-decreasing, that each belongs to. live: indices of the live rows (see
    ``fold``), the row in hand among them. as_of: int64 µs [G]. Values are at the model's border: decimals are float64.
    """
    return _Assembly(windows, batch, group, live, as_of).features()


class _Assembly:
    """One call of ``assemble``: the rows in order, and the slices that several features share."""

    def __init__(
        self,
        windows: Windows,
        batch: EditBatch,
        group: NDArray[np.intp],
        live: NDArray[np.intp],
        as_of: NDArray[np.int64],
    ) -> None:
        self._windows, self._batch, self._as_of = windows, batch, as_of
        rows = live[batch.event_time[live] <= as_of[group[live]]]
        self._rows = rows[_order(batch, group, rows)]
        self._group = group[self._rows]
        self._slices: dict[tuple[str | None, str | None, int], Slices] = {}
        self._chosen: dict[tuple[str | None, str | None], NDArray[np.intp] | slice] = {}

    def features(self) -> dict[str, list[FeatureResult]]:
        values = {}
        for feature in self._windows.features:
            slices = self._slice(feature)
            found = list(AGGREGATES[feature.function](slices, feature))
            if feature.default is not None:
                default = feature.default
                found = [value if count else default for value, count in zip(found, slices.counts, strict=True)]
            values[feature.name] = found
        return values

    def _slice(self, feature: WindowFeature) -> Slices:
        key = (feature.column, feature.where, feature.window_us)
        if key not in self._slices:
            self._slices[key] = self._cut(feature)
        return self._slices[key]

    def _cut(self, feature: WindowFeature) -> Slices:
        """Rows of the window whose value is not null and whose filter is true, as slices of one array."""
        chosen = self._choose(feature.column, feature.where)
        rows, group = self._rows[chosen], self._group[chosen]
        column = next((c for c in self._windows.columns if c.name == feature.column), _ROW)
        values = rows if feature.column is None else self._batch.columns[column.name].values[rows]
        groups = np.arange(len(self._as_of) + 1)
        bounds = np.searchsorted(group, groups)
        before = self._batch.event_time[rows] <= (self._as_of - feature.window_us)[group]
        starts = bounds[:-1] + np.bincount(group[before], minlength=len(self._as_of))
        return Slices(column, values, starts, bounds[1:])

    def _choose(self, column: str | None, where: str | None) -> NDArray[np.intp] | slice:
        """Which of the ordered rows have a value in ``column`` and true in ``where``."""
        if (column, where) not in self._chosen:
            mask: NDArray[np.bool_] | None = None
            if column is not None and (valid := self._batch.columns[column].valid) is not None:
                mask = valid[self._rows]
            if where is not None:
                filtered = self._batch.columns[where]
                true = filtered.values[self._rows]
                if filtered.valid is not None:
                    true = true & filtered.valid[self._rows]
                mask = true if mask is None else mask & true
            self._chosen[column, where] = slice(None) if mask is None else np.flatnonzero(mask)
        return self._chosen[column, where]


def _order(batch: EditBatch, group: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp] | slice:
    """What puts rows in (group, event time, position, row id) order: nothing, when their times already rise."""
    times, groups = batch.event_time[rows], group[rows]
    if ((times[1:] > times[:-1]) | (groups[1:] != groups[:-1])).all():
        return slice(None)
    order: NDArray[np.intp] = np.lexsort((batch.row_id[rows], batch.low[rows], batch.high[rows], times, groups))
    return order


def _check(feature: WindowFeature, columns: dict[str, Column]) -> None:
    wrong = ""
    if feature.window_us <= 0:
        wrong = f"its window must be longer than 0 µs, got {feature.window_us}"
    elif feature.where is not None and (feature.where not in columns or columns[feature.where].type != "bool"):
        wrong = f"its filter {feature.where!r} is not a bool column of the edits"
    elif feature.column is None and feature.function != "count":
        wrong = "only count can go without a column"
    elif feature.column is not None and feature.column not in columns:
        wrong = f"the edits carry no column {feature.column!r}, only {sorted(columns)}"
    elif feature.column is not None and feature.function in NUMERIC and columns[feature.column].type == "string":
        wrong = f"{feature.function} needs numbers, and column {feature.column!r} is text"
    elif feature.function == "last_n" and feature.n < 1:
        wrong = f"n must be at least 1, got {feature.n}"
    if wrong:
        raise WindowError("window.feature", f"feature {feature.name!r}: {wrong}", context={"feature": feature.name})
