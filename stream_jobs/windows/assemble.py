"""The features of a view for many entities at once, each as of its own time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.records import Value
from stream_jobs.errors import WindowError
from stream_jobs.plan import Column, WindowFeature
from stream_jobs.windows.aggregate import AGGREGATES, NUMERIC, Slices, Values
from stream_jobs.windows.edits import EditBatch
from stream_jobs.windows.values import INT64_MIN

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
    """One call of ``assemble``: the rows in order, and what several features share."""

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
        self._rows = rows[order(batch, group, rows)]
        self._group = group[self._rows]
        self._chosen: dict[tuple[str | None, str | None], _Chosen] = {}
        self._values: dict[tuple[str | None, str | None], Values] = {}
        self._columns = {column.name: column for column in windows.columns}

    def features(self) -> dict[str, list[FeatureResult]]:
        values = {}
        for feature in self._windows.features:
            slices = self._slices(feature)
            found = list(AGGREGATES[feature.function](slices, feature))
            if feature.default is not None:
                default = feature.default
                found = [value if count else default for value, count in zip(found, slices.counts, strict=True)]
            values[feature.name] = found
        return values

    def _slices(self, feature: WindowFeature) -> Slices:
        """Rows of the window whose value is not null and whose filter is true."""
        chosen = self._choose(feature)
        key = (feature.column, feature.where)
        if key not in self._values:
            if feature.column is None:
                self._values[key] = Values(_ROW, chosen.rows)
            else:
                array = self._batch.columns[feature.column].values[chosen.rows]
                self._values[key] = Values(self._columns[feature.column], array)
        return Slices(self._values[key], chosen.starts(feature.window_us), chosen.ends)

    def _choose(self, feature: WindowFeature) -> _Chosen:
        """The ordered rows that have a value in the column and true in the filter; columns without nulls share them."""
        valid = None if feature.column is None else self._batch.columns[feature.column].valid
        key = (None if valid is None else feature.column, feature.where)
        if key not in self._chosen:
            mask: NDArray[np.bool_] | None = None if valid is None else valid[self._rows]
            if feature.where is not None:
                filtered = self._batch.columns[feature.where]
                true = filtered.values[self._rows]
                if filtered.valid is not None:
                    true = true & filtered.valid[self._rows]
                mask = true if mask is None else mask & true
            rows, group = (self._rows, self._group) if mask is None else (self._rows[mask], self._group[mask])
            self._chosen[key] = _Chosen(rows, group, self._batch.event_time[rows], self._as_of)
        return self._chosen[key]


class _Chosen:
    """Some of the ordered rows [m], and where each group's window begins and ends among them."""

    def __init__(
        self,
        rows: NDArray[np.intp],
        group: NDArray[np.intp],
        times: NDArray[np.int64],
        as_of: NDArray[np.int64],
    ) -> None:
        self.rows, self._group, self._times, self._as_of = rows, group, times, as_of
        self._groups = len(as_of)
        bounds = np.searchsorted(group, np.arange(self._groups + 1))
        self._begins, self.ends = bounds[:-1], bounds[1:]
        self._starts: dict[int, NDArray[np.intp]] = {}

    def starts(self, window_us: int) -> NDArray[np.intp]:
        """[G]: the first row of each group that is younger than the window."""
        if window_us not in self._starts:
            edge = np.maximum(self._as_of, INT64_MIN + window_us) - window_us  # never wraps round
            too_old = self._group[self._times <= edge[self._group]]
            self._starts[window_us] = self._begins + np.bincount(too_old, minlength=self._groups)
        return self._starts[window_us]


def order(batch: EditBatch, group: NDArray[np.intp], rows: NDArray[np.intp]) -> NDArray[np.intp] | slice:
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
