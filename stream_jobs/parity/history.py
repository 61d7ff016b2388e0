"""Leg 2: features of questions by the window algebra over HBase's edits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.records import Edit
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.reader import RowInHand, hand
from stream_jobs.parity.ledger import Question
from stream_jobs.plan import View
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import halves
from stream_jobs.windows.fold import fold, up_to

_MOST_BYTES = 32 * 2**20
"""Packed edits folded at a time, over several questions; one question may have more."""

Edits = Callable[[Sequence[str]], Iterable[tuple[str, list[Edit]]]]
"""Entities in the order of their rows → those that HBase knows, in that order, with every edit by event time."""


@dataclass(frozen=True)
class Answers:
    """values: feature of the view → value of each question. assumed: whether a snapshot row is among its rows."""

    values: dict[str, list[Any]]
    assumed: list[bool]


class HistoryLeg:
    """Answers questions about one view."""

    def __init__(self, view: View, layout: RowLayout, edits: Edits) -> None:
        self._view, self._layout, self._edits = view, layout, edits
        self._windows = Windows(view.columns, view.features)

    def answers(self, questions: Sequence[Question]) -> Answers:
        """An answer for each question. questions: in the order of HBase's rows. Raises EditError for unfit values."""
        result = Answers({feature.name: [] for feature in self._view.features}, [])
        logs: list[bytes] = []
        asked: list[Question] = []
        size = 0
        for question, log in self._logs(questions):
            if logs and size + len(log) > _MOST_BYTES:
                self._compute(asked, logs, result)
                logs, asked, size = [], [], 0
            logs.append(log)
            asked.append(question)
            size += len(log)
        if logs:
            self._compute(asked, logs, result)
        return result

    def _logs(self, questions: Sequence[Question]) -> Iterator[tuple[Question, bytes]]:
        """Each question with the records it needs, packed."""
        entities = list(dict.fromkeys(each.entity for each in questions if each.entity is not None))
        stored = iter(self._edits(entities))
        ahead = next(stored, None)
        name, log = "", _EntityLog(self._layout, [])
        for question in questions:
            if question.entity is None:
                yield question, b""
                continue
            if question.entity != name:
                name = question.entity
                if ahead is not None and ahead[0] == name:
                    log = _EntityLog(self._layout, ahead[1])
                    ahead = next(stored, None)
                else:
                    log = _EntityLog(self._layout, [])
            yield question, log.needed(question.as_of, self._windows.longest_us)

    def _compute(self, questions: Sequence[Question], logs: Sequence[bytes], result: Answers) -> None:
        hands = [self._hand(question) for question in questions]
        decoded = self._layout.decode([log + hand for log, hand in zip(logs, hands, strict=True)])
        batch, group = decoded.batch, decoded.group
        cuts = np.array([halves(question.cut) for question in questions], np.uint64).reshape(-1, 2)
        considered = up_to(batch, cuts[group, 0], cuts[group, 1])
        last = np.cumsum(np.bincount(group, minlength=len(questions))) - 1
        with_hand = np.array([bool(hand) for hand in hands], np.bool_)
        in_hand = last[with_hand]
        ids = np.zeros(len(questions), np.int64)
        ids[with_hand] = batch.row_id[in_hand]
        considered &= ~(with_hand[group] & (batch.row_id == ids[group]))
        considered[in_hand] = True
        live = fold(batch, group, considered)
        as_of = np.array([question.as_of for question in questions], np.int64)
        for name, values in assemble(self._windows, batch, group, live, as_of).items():
            result.values[name].extend(values)
        result.assumed.extend(self._assumed(decoded.assumed, batch.event_time, group, live, as_of))

    def _assumed(
        self,
        assumed: NDArray[np.bool_],
        times: NDArray[np.int64],
        group: NDArray[np.intp],
        live: NDArray[np.intp],
        as_of: NDArray[np.int64],
    ) -> list[bool]:
        """Whether one of the live rows of the longest window comes from a snapshot."""
        asked = as_of[group[live]]
        inside = (times[live] <= asked) & (times[live] > asked - self._windows.longest_us)
        counts = np.bincount(group[live[inside & assumed[live]]], minlength=len(as_of))
        found: list[bool] = (counts > 0).tolist()
        return found

    def _hand(self, question: Question) -> bytes:
        """The row in hand as a record; none where the stores have it, or where it is of another table."""
        if question.stored or question.entity is None:
            return b""
        edit = hand(self._view, RowInHand(question.as_of, question.row))
        return b"" if edit is None else self._layout.encode(edit)


class _EntityLog:
    """An entity's edits, packed, by event time.

    A window needs the edits with an event time in it, and every edit of a row that has others outside: such a row's
    state may be decided there.
    """

    def __init__(self, layout: RowLayout, edits: Sequence[Edit]) -> None:
        records = [layout.encode(edit) for edit in edits]
        self._times = [edit.event_time for edit in edits]
        self._offsets = [0]
        for record in records:
            self._offsets.append(self._offsets[-1] + len(record))
        self._raw = b"".join(records)
        first: dict[str, int] = {}
        moved = {edit.row_id for edit in edits if first.setdefault(edit.row_id, edit.event_time) != edit.event_time}
        self._moved = [index for index, edit in enumerate(edits) if edit.row_id in moved]

    def needed(self, as_of: int, width_us: int) -> bytes:
        """The records that a window of this width as of this time can depend on."""
        low, high = bisect_right(self._times, as_of - width_us), bisect_right(self._times, as_of)
        inside = self._raw[self._offsets[low] : self._offsets[high]]
        if not self._moved:
            return inside
        outside = [index for index in self._moved if not low <= index < high]
        return inside + b"".join(self._raw[self._offsets[index] : self._offsets[index + 1]] for index in outside)
