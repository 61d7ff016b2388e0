"""Reading dense entities: partials of the tiles inside a window, and the rows of the few others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.names import Names
from appliance.records import Value
from stream_jobs.online import dense
from stream_jobs.online.compiled import CompiledView
from stream_jobs.online.dense import DenseView, Directory
from stream_jobs.online.packed import RowLayout
from stream_jobs.plan import Column, View, WindowFeature
from stream_jobs.windows import kernel, partial
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.partial import Partial
from stream_jobs.windows.values import INT64_MIN

_PART = {"sum": ("sum",), "mean": ("sum",), "std": ("sum", "std")}
_ROW = Column("*", "int64")


@dataclass(frozen=True)
class Asked:
    """A read of a dense entity. tiles: those whose rows it needs; keys: theirs, in the same order."""

    entity: str
    as_of: int
    made: Directory
    tiles: tuple[int, ...]
    keys: list[str]


class DenseReader:
    """Reads dense entities of one view; makes no calls."""

    def __init__(self, view: View, layout: RowLayout, names: Names, dense_view: DenseView) -> None:
        self._view, self._layout, self._names, self._dense = view, layout, names, dense_view
        self._columns = {column.name: column for column in layout.columns}
        plain = dense.plain_layout(layout)
        self._places: list[dict[str, int]] = []
        parts: list[WindowFeature] = []
        for feature in view.features:
            place: dict[str, int] = {}
            for function in ("count", *_PART.get(feature.function, (feature.function,))):
                if function not in place:
                    place[function] = len(parts)
                    named = f"{len(parts)}"
                    parts.append(WindowFeature(named, function, feature.column, feature.window_us, feature.where))  # type: ignore[arg-type]
            self._places.append(place)
        self._parts = CompiledView(plain, Windows(plain.columns, tuple(parts)))

    def ask(self, entity: str, raw: bytes, as_of: int, hand_id: int | None) -> Asked:
        """What a read as of a time must fetch. hand_id: of the row in hand, None for no row or one without id."""
        made = dense.directory(raw)
        ids = self._layout.decode([made.tail]).batch.row_id
        touched = dense.touched(made, ids if hand_id is None else np.append(ids, hand_id))
        tiles = set(touched)
        for feature in self._view.features:
            span = dense.span(made, _edge(as_of, feature), as_of)
            tiles.update(span.edges)
            if feature.function in ("first", "last"):
                counts = made.fields[self._dense.fields[(feature.column, feature.where), "count"]]
                inside = [
                    t for t in (np.flatnonzero(counts[span.begin : span.end]) + span.begin).tolist() if t not in touched
                ]
                tiles.update(inside[:1] if feature.function == "first" else inside[-1:])
        return self._asked(entity, as_of, made, sorted(tiles))

    def all_of(self, asked: Asked) -> Asked:
        """The same read with every tile: for what 64 bits cannot sum."""
        return self._asked(asked.entity, asked.as_of, asked.made, range(asked.made.tiles))

    def _asked(self, entity: str, as_of: int, made: Directory, tiles: Sequence[int]) -> Asked:
        return Asked(entity, as_of, made, tuple(tiles), dense.tile_keys(self._names, self._view, entity, made, tiles))

    def log(self, asked: Asked, tiles: Sequence[bytes]) -> bytes:
        """The rows asked for as a log of version 1."""
        return dense.together(asked.made, tiles, self._layout)

    def values(self, asked: Asked, tiles: Sequence[bytes], wants: NDArray[np.int64]) -> list[Any] | None:
        """Each feature's value; None when 64 bits are too few. wants: the read's column of ``kernel.compute``'s."""
        raw = np.frombuffer(bytearray(self.log(asked, tiles)), np.uint8)
        wants = wants.copy()
        wants[0] = 0
        block, squares = self._parts.run(raw, np.array([[0, len(raw)]], np.int64), wants)
        if block.status[0] != kernel.DONE:
            return None
        free = np.ones(asked.made.tiles, np.bool_)
        free[list(asked.tiles)] = False
        inner: dict[int, NDArray[np.int64]] = {}
        found: list[Any] = []
        for feature, place in zip(self._view.features, self._places, strict=True):
            if feature.window_us not in inner:
                span = dense.span(asked.made, _edge(asked.as_of, feature), asked.as_of)
                inside = np.flatnonzero(free[span.begin : span.end]) + span.begin
                inner[feature.window_us] = asked.made.fields[:, inside]
            parts = self._inner(feature, inner[feature.window_us])
            own = self._own(feature, place, block, squares)
            column = _ROW if feature.column is None else self._columns[feature.column]
            found.append(partial.value(feature, column, partial.merge(parts, own)))
        return found

    def _inner(self, feature: WindowFeature, fields: NDArray[np.int64]) -> Partial:
        """The partial of the tiles inside a window. fields: [K, tiles]."""
        rows = self._dense.fields
        pair = (feature.column, feature.where)
        counts = fields[rows[pair, "count"]]
        count = int(counts.sum())
        if not count or feature.function == "count":
            return Partial(count)
        total, squares, least, most = 0, 0, None, None
        if (pair, "total") in rows and feature.function in _PART:
            total = _exact_sum(fields[rows[pair, "total"]])
        if feature.function == "std":
            squares = (_exact_sum(fields[rows[pair, "squares high"]]) << 32) + _exact_sum(
                fields[rows[pair, "squares low"]]
            )
        if feature.function in ("min", "max"):
            kind = "least" if feature.function == "min" else "most"
            ends = fields[rows[pair, kind]][counts > 0]
            if self._type(feature) == "float64":
                ends = ends.view(np.float64)
            end = self._typed(feature, (ends.min() if kind == "least" else ends.max()).item())
            least = most = end
        return Partial(count, total, squares, least, most)

    def _own(self, feature: WindowFeature, place: dict[str, int], block: Any, squares: Any) -> Partial:
        """The partial of the rows that were folded."""
        count = int(block.exact[0, place["count"]])
        if not count:
            return partial.NOTHING
        if feature.function in _PART:
            total, square = int(block.exact[0, place["sum"]]), 0
            if feature.function == "std":
                _, high, low = squares[0, place["std"]].tolist()
                square = total * total if count < 2 else (high << 64) + (low & (2**64 - 1))
            return Partial(count, total, square)
        if feature.function == "count":
            return Partial(count)
        slot = place[feature.function]
        numbers = block.number if self._type(feature) == "float64" else block.exact
        value = self._typed(feature, numbers[0, slot].item())
        keyed = ((0, 0, 0, 0), value)
        return Partial(count, least=value, most=value, first=keyed, last=keyed)

    def _type(self, feature: WindowFeature) -> str:
        return self._columns[feature.column].type if feature.column else "int64"

    def _typed(self, feature: WindowFeature, value: Value) -> Value:
        return bool(value) if self._type(feature) == "bool" else value


def _edge(as_of: int, feature: WindowFeature) -> int:
    return max(as_of, INT64_MIN + feature.window_us) - feature.window_us


def _exact_sum(numbers: NDArray[np.int64]) -> int:
    if not len(numbers):
        return 0
    if int(np.abs(numbers).max()) * len(numbers) < 2**63:
        return int(numbers.sum())
    return sum(numbers.tolist())
