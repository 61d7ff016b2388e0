"""Dense entities: rows that are closed lie in tiles of their own, the entity's key holds partial aggregates of them.

Layout version 2 of an entity's main key, little-endian: the header of version 1 (base count = rows in tiles), then
``generation u64 · tiles T u32 · fields K u32 · times i64 [T + 1] · least row id i64 [T] · greatest row id i64 [T] ·
fields i64 [K, T]``, then records as the writer appends them. Tile t is a key with the packed records of the rows from
``times[t]``, in (event time, position, row id) order; the last of ``times`` is the last row's. Fields are partials of
each tile's values (``windows.partial`` has the law): counts, sums, squares (in two halves of 32 bits), least, greatest.

A read takes as rows the tiles at the edges of its windows and every tile that may hold a row that a later edit, or the
row in hand, speaks of (by the range of ids in the tile); all else inside a window it takes as partials. So rows that
are changed or taken out are folded as in any log. With T ~ √rows both the main key and a tile grow with √rows.

A generation is never changed: main key and tiles are written in one MULTI, the tiles of the generation before live on
for a minute, and a read that misses a tile begins again at the main key.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.names import Names
from stream_jobs.errors import PackedError
from stream_jobs.online.packed import HEADER_BYTES, Header, RowLayout, dense_header, header
from stream_jobs.plan import Column, View, WindowFeature
from stream_jobs.windows.aggregate import NUMERIC
from stream_jobs.windows.assemble import order
from stream_jobs.windows.fold import up_to

_DIRECTORY = struct.Struct("<QII")
_FEWEST_ROWS = 256
_EDGES = 2
"""Tiles that a read usually takes as rows: what a tile's size is balanced for."""
_OLD_TILES_SECONDS = 60
_SQUARE = 3 * 10**9
_INT64 = 2**63
FUNCTIONS = frozenset({"count", "sum", "mean", "std", "min", "max", "first", "last"})

Pair = tuple[str | None, str | None]
"""Column (None for every row) and filter of a feature."""


@dataclass(frozen=True)
class Directory:
    """What a dense entity's main key says. fields: int64 [K, T], in ``DenseView.fields`` order."""

    head: Header
    generation: int
    times: NDArray[np.int64]
    least_ids: NDArray[np.int64]
    most_ids: NDArray[np.int64]
    fields: NDArray[np.int64]
    tail: bytes

    @property
    def tiles(self) -> int:
        return len(self.least_ids)


def directory(raw: bytes) -> Directory:
    """The directory of a dense entity's bytes. Raises PackedError when they are cut off."""
    head = dense_header(raw)
    try:
        generation, tiles, fields = _DIRECTORY.unpack_from(raw, HEADER_BYTES)
        at = HEADER_BYTES + _DIRECTORY.size
        numbers = np.frombuffer(raw, np.int64, (3 + fields) * tiles + 1, at)
    except (struct.error, ValueError) as error:
        raise PackedError("packed.directory", f"a dense entity's directory is cut off: {error}") from error
    rest = numbers[3 * tiles + 1 :].reshape(fields, tiles)
    return Directory(
        head, generation, numbers[: tiles + 1], numbers[tiles + 1 : 2 * tiles + 1],
        numbers[2 * tiles + 1 : 3 * tiles + 1], rest, raw[at + numbers.nbytes :],
    )  # fmt: skip


def tile_keys(names: Names, view: View, entity: str, made: Directory, tiles: Sequence[int]) -> list[str]:
    """Redis keys of some of an entity's tiles."""
    return [names.redis_tile(view.name, view.version, entity, made.generation, tile) for tile in tiles]


def let_go(redis: Any, names: Names, view: View, entity: str, raw: bytes) -> None:
    """Have the tiles go that bytes of a dense entity name, once the entity's key names others or none.

    redis: a client or a pipeline. A read that has just seen those bytes still finds the tiles.
    """
    made = directory(raw)
    for key in tile_keys(names, view, entity, made, range(made.tiles)):
        redis.expire(key, _OLD_TILES_SECONDS)


def together(made: Directory, tiles: Sequence[bytes], layout: RowLayout) -> bytes:
    """Rows of some tiles and the later edits as a compacted log of version 1."""
    rows = b"".join(tiles)
    head = Header(len(rows) // layout.width, made.head.folded_to, made.head.removed_to, max(1, made.head.removed))
    return head.encode() + rows + made.tail


class DenseView:
    """What tiles of a view hold."""

    def __init__(self, layout: RowLayout, features: Sequence[WindowFeature]) -> None:
        self.layout = layout
        self.fields: dict[tuple[Pair, str], int] = {}
        for feature in features:
            pair = (feature.column, feature.where)
            for kind in _kinds(feature):
                self.fields.setdefault((pair, kind), len(self.fields))

    @classmethod
    def of(cls, layout: RowLayout, features: Sequence[WindowFeature]) -> DenseView | None:
        """None for a view whose entities stay plain: text, or a function whose partial is not of bounded size."""
        types = {column.name: column.type for column in layout.columns}
        fits = all(
            feature.function in FUNCTIONS
            and not (feature.function in NUMERIC and types.get(feature.column or "") == "float64")
            for feature in features
        )
        return cls(layout, features) if fits and not layout.tailed else None

    def tile(self, raw: bytes, generation: int) -> tuple[bytes, list[bytes]] | None:
        """The main key and the tiles of a compacted log (version 1); None when 64 bits are too few for a partial."""
        head, log = header(raw), raw[HEADER_BYTES:]
        decoded = self.layout.decode([log])
        batch = decoded.batch
        closed = np.flatnonzero(up_to(batch, *(np.full(len(batch), half, np.uint64) for half in head.folded_to)))
        closed = closed[closed < head.base]
        rows = closed[order(batch, decoded.group, closed)]
        if not len(rows):
            return None
        per_tile = max(_FEWEST_ROWS, math.isqrt(len(rows) * 8 * (3 + len(self.fields)) // (_EDGES * self.layout.width)))
        starts = np.arange(0, len(rows), per_tile)
        fields = self._partials(batch.columns, rows, starts)
        if fields is None:
            return None
        ids, times = batch.row_id[rows], batch.event_time[rows]
        numbers = [
            times[starts], times[-1:], np.minimum.reduceat(ids, starts), np.maximum.reduceat(ids, starts), *fields
        ]  # fmt: skip
        made = Header(len(rows), head.folded_to, head.removed_to, head.removed)
        records = np.frombuffer(log, np.uint8).reshape(-1, self.layout.width)
        later = np.setdiff1d(np.arange(len(batch)), closed)
        main = b"".join(
            [
                made.encode(dense=True),
                _DIRECTORY.pack(generation, len(starts), len(self.fields)),
                *(np.ascontiguousarray(some, np.int64).tobytes() for some in numbers),
                records[later].tobytes(),
            ]
        )
        ordered = records[rows]
        return main, [ordered[start : start + per_tile].tobytes() for start in starts.tolist()]

    def _partials(self, columns: Any, rows: Any, starts: Any) -> list[NDArray[np.int64]] | None:
        made: list[NDArray[np.int64]] = []
        for (column, where), kind in self.fields:
            valid = np.ones(len(rows), np.bool_)
            values = np.zeros(len(rows), np.int64)
            if column is not None:
                valid, values = _taken(columns[column], rows)
            if where is not None:
                true, filtered = _taken(columns[where], rows)
                valid = valid & true & (filtered != 0)
            partial = _partial(kind, values, valid, starts)
            if partial is None:
                return None
            made.append(partial)
        return made


def _taken(series: Any, rows: Any) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    values = series.values[rows]
    valid = np.ones(len(rows), np.bool_) if series.valid is None else series.valid[rows]
    return valid, values.astype(np.int64) if values.dtype.kind == "b" else values


def _partial(kind: str, values: Any, valid: Any, starts: Any) -> NDArray[np.int64] | None:
    """[T] int64 of one field; the bits of floats. None where 64 bits would be too few for the sum of all tiles."""
    if kind == "count":
        return np.add.reduceat(valid.astype(np.int64), starts)
    if kind in ("least", "most"):
        floats = values.dtype.kind == "f"
        end: Any = np.inf if floats else np.iinfo(np.int64).max
        ufunc, idle = (np.minimum, end) if kind == "least" else (np.maximum, -end)
        found = ufunc.reduceat(np.where(valid, values, idle), starts)
        return found.view(np.int64) if floats else found
    values = np.where(valid, values, 0)
    largest = int(np.abs(values).max(initial=0))
    if kind == "total":
        return None if largest * len(values) >= _INT64 else np.add.reduceat(values, starts)
    if largest > _SQUARE:
        return None
    squares = values.astype(np.uint64) * values.astype(np.uint64)
    half = squares >> np.uint64(32) if kind == "squares high" else squares & np.uint64(2**32 - 1)
    return np.add.reduceat(half.astype(np.int64), starts)


def _kinds(feature: WindowFeature) -> tuple[str, ...]:
    """The fields that a feature needs of each tile."""
    return {
        "sum": ("count", "total"),
        "mean": ("count", "total"),
        "std": ("count", "total", "squares high", "squares low"),
        "min": ("count", "least"),
        "max": ("count", "most"),
    }.get(feature.function, ("count",))


@dataclass(frozen=True)
class Span:
    """A window's tiles: those wholly inside are [begin, end); it also touches the tiles in ``edges``."""

    begin: int
    end: int
    edges: tuple[int, ...]


def span(made: Directory, edge: int, as_of: int) -> Span:
    """The tiles of the window edge < event time ≤ as_of."""
    begin = int(np.searchsorted(made.times[:-1], edge, "right"))
    end = max(0, int(np.searchsorted(made.times, as_of, "right")) - 1)
    edges = {begin - 1, end} if made.times[0] <= as_of and made.times[-1] > edge else set()
    return Span(begin, end, tuple(sorted(tile for tile in edges if 0 <= tile < made.tiles)))


def touched(made: Directory, ids: NDArray[np.int64]) -> set[int]:
    """Tiles that may hold one of these rows."""
    ids = ids[(ids >= made.least_ids.min()) & (ids <= made.most_ids.max())]
    found: set[int] = set()
    if len(ids):
        ids = np.unique(ids)
        for some in np.array_split(ids, len(ids) // 64 + 1):
            inside = (some[:, None] >= made.least_ids) & (some[:, None] <= made.most_ids)
            found.update(np.flatnonzero(inside.any(axis=0)).tolist())
    return found


def plain_layout(layout: RowLayout) -> RowLayout:
    """The same records, decimals read as the integers they are."""
    return RowLayout(
        tuple(Column(c.name, "int64") if c.type == "decimal" else c for c in layout.columns), layout.integer_ids
    )
