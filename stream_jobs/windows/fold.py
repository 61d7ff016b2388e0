"""Folding: which rows are live at a position cut."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_jobs.windows.edits import EditBatch


def up_to(batch: EditBatch, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """[n] bool: position ≤ (high, low), which are [n] or broadcast to it."""
    within: NDArray[np.bool_] = (batch.high < high) | ((batch.high == high) & (batch.low <= low))
    return within


def fold(batch: EditBatch, group: NDArray[np.intp], considered: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Indices, ascending, of the edits that give the live rows of each group.

    group: [n], non-decreasing: the log each edit belongs to. considered: [n], False for edits above the cut.
    A row's state is its edit with the highest position; at one position + wins over -; of equal edits the later one.
    """
    index = np.flatnonzero(considered)
    if not len(index):
        return index
    rows, logs, sign = batch.row_id[index], group[index], batch.sign[index]
    if (sign > 0).all() and _each_row_once(rows, logs):
        return index
    order = np.lexsort((sign, batch.low[index], batch.high[index], rows, logs))
    rows, logs = rows[order], logs[order]
    last = np.empty(len(order), np.bool_)
    last[-1] = True
    np.not_equal(rows[1:], rows[:-1], out=last[:-1])
    last[:-1] |= logs[1:] != logs[:-1]
    winners = order[last & (sign[order] > 0)]
    winners.sort()
    live: NDArray[np.intp] = index[winners]
    return live


def _each_row_once(rows: NDArray[np.int64], logs: NDArray[np.intp]) -> bool:
    """Whether ids rise strictly within each group: the usual case, and cheaper to see than to sort."""
    return bool(((rows[1:] > rows[:-1]) | (logs[1:] != logs[:-1])).all())
