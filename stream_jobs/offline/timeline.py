"""Windows over rows that never changed, as differences of running counts and sums.

Rows stand in the order of entity and event time, and in each entity they became visible in that order too (positions or
commit times do not fall). So the rows of an entity with event time ≤ t that a cut lets through are its first ones, and
a window's rows are one slice: what stands before its begin is taken from what stands before its end. Rows that would
break the order are left out and named, for somebody else to add. Integers only, so that every difference is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LINE = 2**62
"""Entities x microseconds that one timeline can hold."""

_PASSES = 8


@dataclass(frozen=True)
class Asked:
    """Questions [q] of one timeline. cut: the highest position or commit time that counts, in the rows' type."""

    code: Ints
    as_of: Ints
    cut: NDArray[Any] | None


class Timeline:
    """code: [m] entity, 0 … codes - 1. event_us: [m]. visible: [m] when a row became visible, None: all are."""

    def __init__(self, code: Ints, event_us: Ints, visible: NDArray[Any] | None, codes: int) -> None:
        self._from = int(event_us.min()) if len(event_us) else 0
        self._width = (int(event_us.max()) - self._from if len(event_us) else 0) + 2
        if codes * self._width > LINE:
            raise ValueError(f"{codes} entities over {self._width} µs do not fit one timeline")
        line = code * self._width + (event_us - self._from + 1)
        order = np.argsort(line)
        self.left_out: NDArray[np.intp] = np.empty(0, np.intp)
        self._visible: NDArray[Any] | None = None
        if visible is not None:
            order = _ties_by(visible, order, line)
            self._visible = visible.take(order)  # a third of the time of visible[order], for texts
            out = _out_of_order(code[order], self._visible)
            if len(out):
                self.left_out = order[out]
                kept = np.delete(np.arange(len(order)), out)
                order, self._visible = order[kept], self._visible.take(kept)
        self._order, self._line = order, line[order]

    def windows(self, asked: Asked, widths_us: Sequence[int]) -> tuple[Ints, dict[int, Ints]]:
        """Slices of the rows: the end of every window [q], and width → begin [q]; begin ≤ end."""
        base = asked.code * self._width
        sort = np.argsort(base + self._offset(asked.as_of))
        base, as_of = base[sort], asked.as_of[sort]
        end = np.searchsorted(self._line, base + self._offset(as_of), "right")
        if asked.cut is not None:
            end = self._up_to(np.searchsorted(self._line, base, "right"), end, asked.cut[sort])
        back = np.empty_like(sort)
        back[sort] = np.arange(len(sort))
        begins = {
            width: np.minimum(np.searchsorted(self._line, base + self._offset(as_of - width), "right"), end)[back]
            for width in set(widths_us)
        }
        return end[back], begins

    def running(self, numbers: NDArray[Any]) -> Ints:
        """[m + 1] sums of the first 0, 1, … m of [m] integers, modulo 2⁶⁴: right wherever a slice's own sum fits."""
        sums = np.zeros(len(self._order) + 1, np.int64)
        np.cumsum(numbers[self._order], dtype=np.int64, out=sums[1:])
        return sums

    def _offset(self, at: Ints) -> Ints:
        offset: Ints = np.clip(at - (self._from - 1), 0, self._width - 1)
        return offset

    def _up_to(self, first: Ints, end: Ints, cut: NDArray[Any]) -> Ints:
        """How far from ``first`` towards ``end`` the rows are visible at the cut, by bisection."""
        assert self._visible is not None
        some = np.flatnonzero(end > first)
        some = some[self._visible[end[some] - 1] > cut[some]]
        low, high, cuts = first[some], end[some] - 1, cut[some]
        while (open_ := low < high).any():
            middle = np.where(open_, (low + high) // 2, 0)
            seen = open_ & (self._visible[middle] <= cuts)
            high = np.where(open_ & ~seen, middle, high)
            low = np.where(seen, middle + 1, low)
        end = end.copy()
        end[some] = low
        return end


def _ties_by(visible: NDArray[Any], order: NDArray[np.intp], line: Ints) -> NDArray[np.intp]:
    """The order, with rows at one place of the line in the order in which they became visible."""
    placed = line[order]
    same = np.flatnonzero(placed[1:] == placed[:-1])
    if not len(same):
        return order
    tied = np.union1d(same, same + 1)
    rows = order[tied]
    order[tied] = rows[np.lexsort((visible[rows], line[rows]))]
    return order


def _out_of_order(code: Ints, visible: NDArray[Any]) -> NDArray[np.intp]:
    """Indices of rows without which ``visible`` never falls within an entity.

    At each fall both rows are left out: of a late row and of one dated ahead, either may be the one that is wrong. An
    entity that still falls after some passes is left out whole.
    """
    left_out = np.zeros(len(code), np.bool_)
    kept = np.arange(len(code))
    falls = np.flatnonzero((visible[1:] < visible[:-1]) & (code[1:] == code[:-1]))
    for _ in range(_PASSES):
        if not len(falls):
            return np.flatnonzero(left_out)
        left_out[kept[falls]] = left_out[kept[falls + 1]] = True
        kept = np.flatnonzero(~left_out)
        met = np.flatnonzero(np.diff(kept) > 1)
        before, after = kept[met], kept[met + 1]
        falls = met[(visible[after] < visible[before]) & (code[after] == code[before])]
    return np.flatnonzero(left_out | np.isin(code, code[kept[falls]]))
