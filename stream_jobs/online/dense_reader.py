"""Reading dense entities: partials of the tiles inside a window, and the rows of the few others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.names import Names
from appliance.records import Value
from stream_jobs.online import dense
from stream_jobs.online.compiled import CompiledView
from stream_jobs.online.dense import DenseView, Directory, Span
from stream_jobs.online.packed import RowLayout
from stream_jobs.plan import Column, View, WindowFeature
from stream_jobs.windows import kernel, partial
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.partial import Partial
from stream_jobs.windows.values import INT64_MIN

_PART = {"sum": ("sum",), "mean": ("sum",), "std": ("sum", "std")}
_ROW = Column("*", "int64")
_MOST_ENTITIES = 1_000


@dataclass(frozen=True)
class Asked:
    """A read of a dense entity. spans: by window. tiles: those whose rows it needs; keys: theirs, in the same order."""

    entity: str
    as_of: int
    made: Directory
    spans: dict[int, Span]
    tiles: tuple[int, ...]
    keys: list[str]


class LastTiles:
    """Keys of the tiles that the last read of each dense entity took; of the entities read last. False if of none."""

    def __init__(self, most: int = _MOST_ENTITIES) -> None:
        self._keys: dict[str, list[str]] = {}
        self._most = most

    def __bool__(self) -> bool:
        return bool(self._keys)

    def of(self, entities: Iterable[str]) -> Iterator[str]:
        """The keys of these entities' tiles."""
        for entity in entities:
            yield from self._keys.get(entity, ())

    def note(self, entity: str, keys: list[str]) -> None:
        """A read of the entity takes these."""
        self._keys.pop(entity, None)
        self._keys[entity] = keys
        if len(self._keys) > self._most:
            del self._keys[next(iter(self._keys))]


class DenseReader:
    """Reads dense entities of one view; makes no calls."""

    def __init__(self, view: View, layout: RowLayout, names: Names, dense_view: DenseView) -> None:
        self._view, self._layout, self._names, self._dense = view, layout, names, dense_view
        self._columns = {column.name: column for column in layout.columns}
        self._windows = sorted({feature.window_us for feature in view.features})
        self._ends = [feature for feature in view.features if feature.function in ("first", "last")]
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
        ids = np.frombuffer(made.tail, self._layout.dtype)["row_id"]
        touched = dense.touched(made, ids if hand_id is None else np.append(ids, hand_id))
        spans = {window: dense.span(made, max(as_of, INT64_MIN + window) - window, as_of) for window in self._windows}
        tiles = touched.union(*(span.edges for span in spans.values()))
        for feature in self._ends:
            span = spans[feature.window_us]
            counts = made.fields[self._dense.fields[(feature.column, feature.where), "count"]]
            some = (np.flatnonzero(counts[span.begin : span.end]) + span.begin).tolist()
            inside = [tile for tile in some if tile not in touched]
            tiles.update(inside[:1] if feature.function == "first" else inside[-1:])
        return self._asked(entity, as_of, made, spans, sorted(tiles))

    def all_of(self, asked: Asked) -> Asked:
        """The same read with every tile: for what 64 bits cannot sum."""
        return self._asked(asked.entity, asked.as_of, asked.made, asked.spans, range(asked.made.tiles))

    def _asked(self, entity: str, as_of: int, made: Directory, spans: dict[int, Span], tiles: Sequence[int]) -> Asked:
        keys = dense.tile_keys(self._names, self._view, entity, made, tiles)
        return Asked(entity, as_of, made, spans, tuple(tiles), keys)

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
        sums = {window: self._sums(asked, span) for window, span in asked.spans.items()}
        found: list[Any] = []
        for feature, place in zip(self._view.features, self._places, strict=True):
            inner = self._inner(feature, asked, sums[feature.window_us])
            own = self._own(feature, place, block, squares)
            column = _ROW if feature.column is None else self._columns[feature.column]
            found.append(partial.value(feature, column, partial.merge(inner, own)))
        return found

    def _sums(self, asked: Asked, span: Span) -> list[int]:
        """[K] each field summed over the tiles of a window that are not taken as rows; of use for what is added."""
        fields = asked.made.fields
        sums = fields[:, span.begin : span.end].sum(axis=1)
        for tile in asked.tiles:
            if span.begin <= tile < span.end:
                sums -= fields[:, tile]
        found: list[int] = sums.tolist()
        return found

    def _inner(self, feature: WindowFeature, asked: Asked, sums: Sequence[int]) -> Partial:
        """The partial of the tiles inside a window."""
        rows, pair, function = self._dense.fields, (feature.column, feature.where), feature.function
        count = sums[rows[pair, "count"]]
        if not count:
            return partial.NOTHING
        if function in _PART:
            squares = 0
            if function == "std":
                squares = (sums[rows[pair, "squares high"]] << 32) + sums[rows[pair, "squares low"]]
            return Partial(count, sums[rows[pair, "total"]], squares)
        if function not in ("min", "max"):
            return Partial(count)
        span = asked.spans[feature.window_us]
        inside = np.setdiff1d(np.arange(span.begin, span.end), asked.tiles, assume_unique=True)
        kind = "least" if function == "min" else "most"
        ends = asked.made.fields[rows[pair, kind], inside][asked.made.fields[rows[pair, "count"], inside] > 0]
        if self._type(feature) == "float64":
            ends = ends.view(np.float64)
        end = self._typed(feature, (ends.min() if kind == "least" else ends.max()).item())
        return Partial(count, least=end, most=end)

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
        if feature.function in ("min", "max"):
            return Partial(count, least=value, most=value)
        keyed = ((0, 0, 0, 0), value)
        return Partial(count, first=keyed, last=keyed)

    def _type(self, feature: WindowFeature) -> str:
        return self._columns[feature.column].type if feature.column else "int64"

    def _typed(self, feature: WindowFeature, value: Value) -> Value:
        return bool(value) if self._type(feature) == "bool" else value
