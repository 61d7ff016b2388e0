"""One view's part of a read: packed logs and rows in hand → feature values, by the kernel or in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance import position as positions
from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import Edit, FeatureValue, Value
from stream_jobs.errors import CutTooOldError, EditError, PackedError
from stream_jobs.expressions import transformation as transformations
from stream_jobs.online.answers import Answer
from stream_jobs.online.compiled import HAND_ROWS, Block, CompiledView, signed_halves
from stream_jobs.online.dense import DenseView
from stream_jobs.online.dense_reader import Asked, DenseReader, LastTiles
from stream_jobs.online.packed import HEADER_BYTES, Decoded, Header, RowLayout, dense_header, header, is_dense, repeated
from stream_jobs.online.reached import Reached
from stream_jobs.plan import View
from stream_jobs.windows import kernel
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import halves
from stream_jobs.windows.fold import fold, up_to
from stream_jobs.windows.values import exact_column, row_number

Fetch = Callable[[Sequence[str]], Sequence[bytes | None]]
"""MGET."""


class History(Protocol):
    """Every edit ever made of a view: what a read in the past needs and the online store no longer holds."""

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        """The entity's edits with position ≤ cut."""


@dataclass(frozen=True)
class Wants:
    """What is wanted of a view for G rows.

    entities [G]: None when a join key is null. as_of [G]: µs. positions [G]: the rows' own, None for all when they have
    none. rows [G]: the rows in hand, None when the view gets none. left_out: those that are no rows of the view.
    """

    entities: Sequence[str | None]
    as_of: Sequence[int]
    positions: Sequence[str | None] | None = None
    rows: Sequence[Mapping[str, Value]] | None = None
    left_out: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        view: View,
        entities: Sequence[str | None],
        as_of: Sequence[int],
        positions: Sequence[str | None] | None,
        rows: Sequence[Mapping[str, Value]] | None,
    ) -> Wants:
        """With the view's SQL transformation of the rows in hand. Raises EditError for a value that does not fit."""
        if rows is None or not view.transformed:
            return cls(entities, as_of, positions, rows)
        transformation = transformations.of(view)
        derived = [transformation.columns_of(row) for row in rows]
        return cls(
            entities,
            as_of,
            positions,
            [{**row, **(columns or {})} for row, columns in zip(rows, derived, strict=True)],
            frozenset(place for place, columns in enumerate(derived) if columns is None),
        )

    def hand(self, view: View, place: int) -> Edit | None:
        """The row in hand as an edit; a row that has no id yet has none. One that is left out takes its row out."""
        entity = self.entities[place]
        if self.rows is None or entity is None:
            return None
        row, as_of = self.rows[place], self.as_of[place]
        row_id = row.get(view.row_id)
        return Edit(
            sign=-1 if place in self.left_out else 1,
            position=(self.positions[place] if self.positions else None) or positions.LAST,
            known_at=as_of,
            entity=entity,
            row_id="" if row_id is None else text(row_id),
            event_time=as_of,
            columns={column.name: row.get(column.name) for column in view.columns},
        )


def text(value: Value) -> str:
    """A key's or an id's text."""
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Pending:
    """A row whose entity is dense: what must be fetched first. wants: its column of the kernel's."""

    row: int
    asked: Asked
    wants: NDArray[np.int64]


class Values:
    """What a view gives for G rows. cuts: the position cut each was read at. pending: rows still without values."""

    def __init__(
        self,
        block: Block | None,
        others: dict[int, dict[str, FeatureValue]],
        cuts: Sequence[str],
        age_ms: int | None,
    ) -> None:
        self._block, self._others, self.cuts, self.age_ms = block, others, cuts, age_ms
        self.pending: list[Pending] = []

    def put(self, row: int, values: dict[str, FeatureValue]) -> None:
        """The values of a row that was pending."""
        self._others[row] = values

    def of(self, row: int) -> dict[str, FeatureValue]:
        """Feature name → value of one row."""
        if row in self._others or self._block is None:
            return self._others[row]
        return self._block.values(row, self.age_ms)

    def number(self, name: str) -> NDArray[np.float64] | list[Any]:
        """[G] one feature as a model takes it, null is NaN."""
        if self._block is None:
            return [_number(self._others[row][name].value) for row in range(len(self._others))]
        numbers = self._block.number[:, self._block.places[name]]
        for row, values in self._others.items():
            numbers[row] = _number(values[name].value)
        return numbers


class ViewReader:
    """Folds and assembles for one view. Makes no calls, except to ``history`` for reads in the past."""

    def __init__(self, view: View, layout: RowLayout, names: Names, history: History | None) -> None:
        self.view = view
        self.key_prefix = names.redis_edits(view.name, view.version, "")
        self._layout, self._history = layout, history
        self._windows = Windows(view.columns, view.features)
        self._compiled = CompiledView.of(layout, self._windows)
        self.tiles = LastTiles()
        dense_view = DenseView.of(layout, view.features)
        self._dense = None if dense_view is None else DenseReader(view, layout, names, dense_view)

    def find(self, wants: Wants, answer: Answer, places: Sequence[int], reached: Reached | None) -> Values:
        """What each row finds. places [G]: where its entity's bytes are in the answer, -1 for nowhere.

        Raises CutTooOldError when compaction took out what a read needs and there is no history to read it from, and
        EditError for a value of a row in hand that does not fit its column.
        """
        at = reached.position if reached else positions.ZERO
        age_ms = max(0, wall_us() - reached.known_at) // 1000 if reached else None
        cuts = [at] * len(places)
        if wants.positions is not None:
            cuts = [at if own is None else min(at, own) for own in wants.positions]
        block, table, rest = None, None, list(range(len(places)))
        if self._compiled is not None:
            table = self._wants(wants, places, cuts)
            block = self._compiled.compute(answer.raw, answer.spans, table)
            rest = np.flatnonzero(block.status).tolist()
        values = Values(block, {}, cuts, age_ms)
        if rest:
            raw = [None if places[row] < 0 else answer.value(places[row]) for row in rest]
            self._rest(values, wants, rest, raw, table)
        return values

    def _rest(self, values: Values, wants: Wants, rows: Sequence[int], raw: Sequence[bytes | None], table: Any) -> None:
        """What the kernel did not do: dense entities wait for their tiles, the others are done in numpy."""
        plain, logs = [], []
        for row, one in zip(rows, raw, strict=True):
            entity = wants.entities[row]
            if (
                one is None
                or entity is None
                or not is_dense(one)
                or not self._exact(one, wants.as_of[row], values.cuts[row])
            ):
                plain.append(row)
                logs.append(one)
            elif self._dense is None:
                raise PackedError(
                    "packed.dense", f"view {self.view.name!r} has tiles, and a function that cannot use them"
                )
            else:
                column = table[:, row : row + 1]
                hand_id = int(column[5, 0]) if column[4, 0] in (kernel.HAND, kernel.LEFT_OUT) else None
                asked = self._dense.ask(entity, one, wants.as_of[row], hand_id)
                self.tiles.note(entity, asked.keys)
                values.pending.append(Pending(row, asked, column))
        if plain:
            for row, found in zip(plain, self._in_numpy(wants, plain, logs, values.cuts, values.age_ms), strict=True):
                values.put(row, found)

    def _exact(self, raw: bytes, as_of: int, cut: str) -> bool:
        return dense_header(raw).exact_at(halves(cut), as_of - self._windows.longest_us)

    def resolve(self, values: Values, wants: Wants, fetch: Fetch, fetched: Mapping[str, bytes | None]) -> None:
        """Give pending rows their values. fetched: the tiles they asked for.

        A tile that is gone was written anew meanwhile: then the row begins again at its entity's main key.
        """
        pending, values.pending = values.pending, []
        for one in pending:
            tiles = [fetched[key] for key in one.asked.keys]
            whole = [tile for tile in tiles if tile is not None]
            if len(whole) < len(tiles):
                self._rest(values, wants, [one.row], fetch([self.key_prefix + one.asked.entity]), self._again(one))
                continue
            assert self._dense is not None
            found = self._dense.values(one.asked, whole, one.wants)
            if found is None:
                self._all_tiles(values, wants, one, fetch)
                continue
            names = [feature.name for feature in self.view.features]
            values.put(
                one.row,
                {
                    name: FeatureValue(value, "null" if value is None else "present", values.age_ms)
                    for name, value in zip(names, found, strict=True)
                },
            )

    def _again(self, one: Pending) -> NDArray[np.int64]:
        """The kernel's table with the one row's column in its place."""
        return np.repeat(one.wants, one.row + 1, axis=1)

    def _all_tiles(self, values: Values, wants: Wants, one: Pending, fetch: Fetch) -> None:
        """In numpy, with every row: slow, and exact where 64 bits are too few."""
        assert self._dense is not None
        asked = self._dense.all_of(one.asked)
        tiles = [tile for tile in fetch(asked.keys) if tile is not None]
        if len(tiles) < len(asked.keys):
            self._rest(values, wants, [one.row], fetch([self.key_prefix + asked.entity]), self._again(one))
            return
        log = self._dense.log(asked, tiles)
        (found,) = self._in_numpy(wants, [one.row], [log], values.cuts, values.age_ms)
        values.put(one.row, found)

    def _wants(self, wants: Wants, places: Sequence[int], cuts: Sequence[str]) -> NDArray[np.int64]:
        """``wants`` of ``kernel.compute``."""
        table = np.empty((HAND_ROWS + len(self.view.columns), len(places)), np.int64)
        table[0] = places
        try:
            table[1] = wants.as_of
        except OverflowError:
            raise EditError("edit.shape", f"as-of times are int64 µs, got {max(wants.as_of, key=abs)}") from None
        if wants.positions is None:
            table[2], table[3] = signed_halves(cuts[0]) if cuts else (0, 0)
        else:
            table[2:4] = np.array([signed_halves(cut) for cut in cuts], np.int64).T
        table[4] = kernel.NO_HAND
        if wants.rows is not None:
            self._hands(wants, table)
        return table

    def _hands(self, wants: Wants, table: NDArray[np.int64]) -> None:
        """Put the rows in hand into the kernel's table."""
        rows = wants.rows or ()
        with_hand = [entity is not None for entity in wants.entities]
        given = [row.get(self.view.row_id) for row in rows]
        ids = [
            one
            if type(one) is int and -(2**63) <= one < 2**63
            else row_number(text(one))
            if one not in (None, "")
            else 0
            for one, known in zip(given, with_hand, strict=True)
        ]
        table[4] = [
            (kernel.NAMELESS_HAND if one in (None, "") else kernel.HAND) if known else kernel.NO_HAND
            for one, known in zip(given, with_hand, strict=True)
        ]
        for place in wants.left_out:
            table[4, place] = kernel.LEFT_OUT if table[4, place] == kernel.HAND else kernel.NO_HAND
        table[5] = ids
        if wants.positions is None:
            table[6], table[7] = signed_halves(positions.LAST)
        else:
            try:
                table[6:8] = np.array([signed_halves(own or positions.LAST) for own in wants.positions], np.int64).T
            except ValueError as error:
                raise EditError("edit.position", str(error)) from None
        nulls = [0] * len(rows)
        for bit, column in enumerate(self.view.columns):
            name = column.name
            own = (row.get(name) if known else None for row, known in zip(rows, with_hand, strict=True))
            values: list[Any] = exact_column(column, own)
            if None in values:
                mark = 1 << bit if bit < 63 else -(1 << 63)
                nulls = [null | mark if value is None else null for null, value in zip(nulls, values, strict=True)]
                values = [0 if value is None else value for value in values]
            table[HAND_ROWS + bit] = np.array(values, np.float64).view(np.int64) if column.type == "float64" else values
        table[8] = nulls

    def _in_numpy(
        self, wants: Wants, rows: Sequence[int], raw: Sequence[bytes | None], cuts: Sequence[str], age_ms: int | None
    ) -> list[dict[str, FeatureValue]]:
        """The values of some of the rows. raw: their entities' bytes."""
        cuts = [cuts[row] for row in rows]
        hands = [wants.hand(self.view, row) for row in rows]
        as_of = np.array([wants.as_of[row] for row in rows], np.int64)
        logs = [self._log(wants.entities[row], *one) for row, *one in zip(rows, as_of.tolist(), raw, cuts, strict=True)]
        records = [self._hand(hand) if hand else b"" for hand in hands]
        decoded = self._layout.decode([log.records + hand for log, hand in zip(logs, records, strict=True)])
        considered, in_hand, seen = _considered(decoded, hands, cuts, [log.header for log in logs])
        added = in_hand[decoded.batch.sign[in_hand] > 0]
        live = np.union1d(fold(decoded.batch, decoded.group, considered), added)
        columns = assemble(self._windows, decoded.batch, decoded.group, live, as_of)
        by_row = zip(*columns.values(), strict=True) if columns else iter(() for _ in rows)
        return [
            {
                name: FeatureValue(value, ("null" if value is None else "present") if known else "missing", age_ms)
                for name, value in zip(columns, values, strict=True)
            }
            for values, known in zip(by_row, seen, strict=True)
        ]

    def _hand(self, edit: Edit) -> bytes:
        """The row in hand as a record. One that has no id yet is given any: it takes no stored row's place."""
        nameless = not edit.row_id and self._layout.integer_ids
        return self._layout.encode(msgspec.structs.replace(edit, row_id="0") if nameless else edit)

    def _log(self, entity: str | None, as_of: int, raw: bytes | None, cut: str) -> _Log:
        if raw is None or entity is None:
            return _Log(Header(), b"")
        head = dense_header(raw) if is_dense(raw) else header(raw)
        if not head.compacted or head.exact_at(halves(cut), as_of - self._windows.longest_us):
            return _Log(head, raw[HEADER_BYTES:])
        if self._history is None:
            raise CutTooOldError(
                "online.cut_too_old",
                f"view {self.view.name!r}: a read at position {cut} as of {as_of} µs needs edits that were folded "
                f"up to {head.folded_to[0]:016x}{head.folded_to[1]:016x} or removed up to {head.removed_to} µs",
                context={"view": self.view.name, "cut": cut, "as_of": as_of},
                hint="give the reader a history (HBase), or read at a later cut",
            )
        edits = self._history.edits(self.view, entity, cut)
        return _Log(Header(), b"".join(map(self._layout.encode, edits)))


@dataclass(frozen=True)
class _Log:
    header: Header
    records: bytes


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _considered(
    decoded: Decoded, hands: Sequence[Edit | None], cuts: Sequence[str], headers: Sequence[Header]
) -> tuple[NDArray[np.bool_], NDArray[np.intp], list[bool]]:
    """[n] bool: which stored records may give a row its state; the rows in hand, each the last record of its log; and
    per log whether its entity was ever seen. Stored edits of a row with the id of the one in hand never count.
    """
    batch, group = decoded.batch, decoded.group
    cut = np.array([halves(position) for position in cuts], np.uint64).reshape(-1, 2)
    considered = up_to(batch, cut[group, 0], cut[group, 1])
    considered &= ~repeated(decoded, headers)
    ends = np.cumsum(np.bincount(group, minlength=len(hands)))
    in_hand = np.array([index for index, hand in enumerate(hands) if hand is not None], np.intp)
    last = ends[in_hand] - 1
    ids, with_id = np.zeros(len(hands), np.int64), np.zeros(len(hands), np.bool_)
    ids[in_hand] = batch.row_id[last]
    with_id[in_hand] = [bool(hand.row_id) for hand in hands if hand is not None]
    considered &= ~((batch.row_id == ids[group]) & with_id[group])
    considered[last] = False
    counts = np.bincount(group[considered], minlength=len(hands)).tolist()
    return considered, last, [count > 0 or head.removed > 0 for count, head in zip(counts, headers, strict=True)]
