"""One view's part of a lookup: packed logs and rows in hand → feature values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from appliance import position as positions
from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import Edit, FeatureValue
from stream_jobs.errors import CutTooOldError
from stream_jobs.online.packed import HEADER_BYTES, Decoded, Header, RowLayout, header, repeated
from stream_jobs.online.reached import Reached
from stream_jobs.plan import View
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import halves
from stream_jobs.windows.fold import fold, up_to


class History(Protocol):
    """Every edit ever made of a view: what a read in the past needs and the online store no longer holds."""

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        """The entity's edits with position ≤ cut."""


@dataclass(frozen=True)
class Want:
    """What is wanted of a view for one row.

    entity: None when a join key is null. position: the row's own, None if it has none yet. edit: the row in hand.
    """

    entity: str | None
    as_of: int
    position: str | None = None
    edit: Edit | None = None


@dataclass(frozen=True)
class Found:
    """What a view gives for one row. values: feature name → value. cut: the position cut it was read at."""

    values: dict[str, FeatureValue]
    cut: str


@dataclass(frozen=True)
class _Log:
    header: Header
    records: bytes


class ViewReader:
    """Decodes, folds and assembles for one view. Makes no calls, except to ``history`` for reads in the past."""

    def __init__(self, view: View, layout: RowLayout, names: Names, history: History | None) -> None:
        self.view = view
        self._layout, self._names, self._history = layout, names, history
        self._windows = Windows(view.columns, view.features)

    def key(self, entity: str) -> str:
        return self._names.redis_edits(self.view.name, self.view.version, entity)

    def find(self, wants: Sequence[Want], raw: Sequence[bytes | None], reached: Reached | None) -> list[Found]:
        """What each row finds. raw: its entity's bytes, [len(wants)], None where the store has none.

        Raises CutTooOldError when compaction took out what a read needs and there is no history to read it from.
        """
        at = reached.position if reached else positions.ZERO
        cuts = [at if want.position is None else min(at, want.position) for want in wants]
        logs = [self._log(*one) for one in zip(wants, raw, cuts, strict=True)]
        hands = [self._hand(want.edit) if want.edit else b"" for want in wants]
        decoded = self._layout.decode([log.records + hand for log, hand in zip(logs, hands, strict=True)])
        considered, seen = _considered(decoded, wants, cuts, [log.header for log in logs])
        live = fold(decoded.batch, decoded.group, considered)
        as_of = np.array([want.as_of for want in wants], np.int64)
        columns = assemble(self._windows, decoded.batch, decoded.group, live, as_of)
        age_ms = max(0, wall_us() - reached.known_at) // 1000 if reached else None
        rows = zip(*columns.values(), strict=True) if columns else iter(() for _ in wants)
        return [
            Found(
                {
                    name: FeatureValue(value, "null" if value is None else "present", age_ms)
                    if known
                    else FeatureValue(value, "missing", age_ms)
                    for name, value in zip(columns, values, strict=True)
                },
                cut,
            )
            for values, known, cut in zip(rows, seen, cuts, strict=True)
        ]

    def _hand(self, edit: Edit) -> bytes:
        """The row in hand as a record. One that has no id yet is given any: see ``_considered``."""
        nameless = not edit.row_id and self._layout.integer_ids
        return self._layout.encode(msgspec.structs.replace(edit, row_id="0") if nameless else edit)

    def _log(self, want: Want, raw: bytes | None, cut: str) -> _Log:
        if raw is None or want.entity is None:
            return _Log(Header(), b"")
        head = header(raw)
        if not head.compacted or head.exact_at(halves(cut), want.as_of - self._windows.longest_us):
            return _Log(head, raw[HEADER_BYTES:])
        if self._history is None:
            raise CutTooOldError(
                "online.cut_too_old",
                f"view {self.view.name!r}: a read at position {cut} as of {want.as_of} µs needs edits that were folded "
                f"up to {head.folded_to[0]:016x}{head.folded_to[1]:016x} or removed up to {head.removed_to} µs",
                context={"view": self.view.name, "cut": cut, "as_of": want.as_of},
                hint="give the reader a history (HBase), or read at a later cut",
            )
        edits = self._history.edits(self.view, want.entity, cut)
        return _Log(Header(), b"".join(map(self._layout.encode, edits)))


def _considered(
    decoded: Decoded, wants: Sequence[Want], cuts: Sequence[str], headers: Sequence[Header]
) -> tuple[NDArray[np.bool_], list[bool]]:
    """[n] bool: which records may give a row its state; and per log whether its entity was ever seen.

    The row in hand, the last record of its log, always counts; stored edits of a row with its id never do.
    """
    batch, group = decoded.batch, decoded.group
    cut = np.array([halves(position) for position in cuts], np.uint64).reshape(-1, 2)
    considered = up_to(batch, cut[group, 0], cut[group, 1])
    considered &= ~repeated(decoded, headers)
    ends = np.cumsum(np.bincount(group, minlength=len(wants)))
    in_hand = [index for index, want in enumerate(wants) if want.edit is not None]
    if in_hand:
        last = ends[in_hand] - 1
        ids, with_id = np.zeros(len(wants), np.int64), np.zeros(len(wants), np.bool_)
        ids[in_hand] = batch.row_id[last]
        with_id[in_hand] = [bool(wants[index].edit.row_id) for index in in_hand]  # type: ignore[union-attr]
        considered &= ~((batch.row_id == ids[group]) & with_id[group])
        considered[last] = False
    counts = np.bincount(group[considered], minlength=len(wants)).tolist()
    if in_hand:
        considered[last] = True
    return considered, [count > 0 or head.removed > 0 for count, head in zip(counts, headers, strict=True)]
