"""A view's part of a read through the compiled kernel: what it must know of the view, and what it gives back."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from appliance.records import FeatureValue, Value
from stream_jobs.online.packed import RowLayout
from stream_jobs.plan import WindowFeature
from stream_jobs.windows import kernel
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.edits import halves

HAND_ROWS = 9
"""Rows of ``wants`` before the values of the row in hand."""

_KINDS = {"float64": kernel.FLOAT, "bool": kernel.BOOL}
_AS_STORED = frozenset({"min", "max", "first", "last"})


@lru_cache(4096)
def signed_halves(position: str) -> tuple[int, int]:
    """A position's halves as int64 with the same bits. Raises ValueError unless it has 32 hex digits."""
    high, low = halves(position)
    return high - (high >> 63 << 64), low - (low >> 63 << 64)


@dataclass(frozen=True)
class Block:
    """The values of F features of G reads.

    places: feature → its column. exact: int64 [G, F], of whole values. number: float64 [G, F], as a model takes them,
    null = NaN. states [G, F], status [G]: see ``kernel``. seen [G]: whether the entity was ever seen.
    """

    places: dict[str, int]
    exact: NDArray[np.int64]
    number: NDArray[np.float64]
    states: NDArray[np.int8]
    status: NDArray[np.int8]
    seen: NDArray[np.bool_]
    _decoders: tuple[Callable[[int], Value], ...]
    _defaults: tuple[Value, ...]

    def values(self, read: int, age_ms: int | None) -> dict[str, FeatureValue]:
        """Feature → value of one read."""
        known = bool(self.seen[read])
        return {
            name: FeatureValue(None, "null" if known else "missing", age_ms)
            if state == kernel.NULL
            else FeatureValue(
                number if state == kernel.REAL else decode(whole) if state == kernel.WHOLE else default,
                "present" if known else "missing",
                age_ms,
            )
            for name, state, whole, number, decode, default in zip(
                self.places, self.states[read].tolist(), self.exact[read].tolist(), self.number[read].tolist(),
                self._decoders, self._defaults, strict=True,
            )
        }  # fmt: skip


class CompiledView:
    """Arrays that tell the kernel of one view."""

    def __init__(self, layout: RowLayout, windows: Windows) -> None:
        names = [column.name for column in layout.columns]
        features = windows.features
        self._places = {feature.name: place for place, feature in enumerate(features)}
        self._defaults = tuple(feature.default for feature in features)
        self._decoders = tuple(_decoder(layout, feature) for feature in features)
        self._units = [10 ** _scale(layout, feature) for feature in features]
        self._spreads = [
            place
            for place, feature in enumerate(features)
            if feature.function == "std" and _type(layout, feature) != "float64"
        ]
        self._width, self._nulls = layout.width, layout.null_bytes
        self._longest = windows.longest_us
        self._columns = np.array(
            [
                [layout.offset(bit), _KINDS.get(column.type, kernel.INTEGER)]
                for bit, column in enumerate(layout.columns)
            ],
            np.int64,
        ).reshape(-1, 2)
        slots = sorted(range(len(features)), key=lambda place: _together(features[place]))
        ordered = [features[place] for place in slots]
        self._features = np.array([_described(layout, features[slot], slot) for slot in slots], np.int64).reshape(-1, 6)
        self._default_numbers = np.array(
            [math.nan if feature.default is None else float(feature.default) for feature in ordered]
        )
        self._groups = np.array(_groups(names, ordered, self._nulls), np.int64).reshape(-1, 7)

    @classmethod
    def of(cls, layout: RowLayout, windows: Windows) -> CompiledView | None:
        """None for a view with a column or a function that the kernel does not do."""
        functions = {feature.function for feature in windows.features}
        return None if layout.tailed or not functions <= kernel.FUNCTIONS.keys() else cls(layout, windows)

    def compute(self, raw: NDArray[np.uint8], spans: NDArray[np.int64], wants: NDArray[np.int64]) -> Block:
        """raw, spans, wants: see ``kernel.compute``."""
        block, squares = self.run(raw, spans, wants)
        for place in self._spreads:
            self._spread(place, block, squares)
        return block

    def run(
        self, raw: NDArray[np.uint8], spans: NDArray[np.int64], wants: NDArray[np.int64]
    ) -> tuple[Block, NDArray[np.int64]]:
        """As ``compute``, standard deviations left as counts and the kernel's ``squares``."""
        shape = (wants.shape[1], len(self._places))
        exact, number, states = np.empty(shape, np.int64), np.empty(shape), np.empty(shape, np.int8)
        status, seen = np.empty(shape[0], np.int8), np.zeros(shape[0], np.bool_)
        squares = np.empty((*shape, 3), np.int64) if self._spreads else np.empty((shape[0], 0, 3), np.int64)
        kernel.compute(
            raw, spans, self._width, self._nulls, self._longest, self._columns, self._groups, self._features,
            self._default_numbers, wants, exact, number, states, squares, status, seen,
        )  # fmt: skip
        return Block(self._places, exact, number, states, status, seen, self._decoders, self._defaults), squares

    def _spread(self, place: int, block: Block, squares: NDArray[np.int64]) -> None:
        """Standard deviations of integers: one division of exact integers, as ``aggregate`` does it."""
        unit = self._units[place]
        for read in np.flatnonzero((block.status == kernel.DONE) & (block.states[:, place] == kernel.SPREAD)).tolist():
            count = int(block.exact[read, place])
            total, high, low = squares[read, place].tolist()
            square = (high << 64) + (low & (2**64 - 1))
            block.number[read, place] = math.sqrt((count * square - total**2) / (count * (count - 1) * unit * unit))
            block.states[read, place] = kernel.REAL


def _together(feature: WindowFeature) -> tuple[str, str, int]:
    """Sorts features of one column and filter together, their windows rising."""
    return (
        f"={feature.column}" if feature.column else "",
        f"={feature.where}" if feature.where else "",
        feature.window_us,
    )


def _described(layout: RowLayout, feature: WindowFeature, slot: int) -> list[int]:
    """What the kernel knows of a feature."""
    decimal = _type(layout, feature) == "decimal"
    unit = 10 ** _scale(layout, feature)
    return [
        kernel.FUNCTIONS[feature.function], feature.window_us, unit, decimal, feature.default is not None, slot
    ]  # fmt: skip


def _type(layout: RowLayout, feature: WindowFeature) -> str:
    return next((column.type for column in layout.columns if column.name == feature.column), "int64")


def _scale(layout: RowLayout, feature: WindowFeature) -> int:
    return next((c.scale for c in layout.columns if c.name == feature.column and c.type == "decimal"), 0)


def _decoder(layout: RowLayout, feature: WindowFeature) -> Callable[[int], Value]:
    return bool if _type(layout, feature) == "bool" and feature.function in _AS_STORED else int


def _groups(names: Sequence[str], features: Sequence[WindowFeature], nulls: int) -> list[list[int]]:
    """Runs of features with one column and filter."""
    groups: list[list[int]] = []
    for place, feature in enumerate(features):
        column = -1 if feature.column is None else names.index(feature.column)
        where = -1 if feature.where is None else names.index(feature.where)
        apart, squared = feature.function == "count_distinct", feature.function == "std"
        if groups and groups[-1][:2] == [column, where]:
            groups[-1][3] = place + 1
            groups[-1][4] |= apart
            groups[-1][5] |= squared
        else:
            groups.append([column, where, place, place + 1, apart, squared, nulls])
    return groups
