"""Compaction: an entity's bytes without what no live read can need. See ``packed.py`` for what the header then says."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream_jobs.online.packed import HEADER_BYTES, Header, RowLayout, header, repeated
from stream_jobs.windows.edits import EditBatch
from stream_jobs.windows.fold import fold, up_to

Position = tuple[int, int]


def compact(layout: RowLayout, raw: bytes, fold_to: Position, remove_to: int) -> bytes:
    """The entity's bytes with its rows folded up to ``fold_to`` and without those with event time ≤ ``remove_to``.

    fold_to: position halves; every edit up to it must have arrived (it is not above the position reached).
    remove_to: µs. Reads at cuts ≥ fold_to of windows that begin at or after remove_to stay exactly the same.
    """
    head, log = header(raw), raw[HEADER_BYTES:]
    if fold_to < head.folded_to or fold_to == (0, 0):
        return raw
    decoded = layout.decode([log])
    batch = decoded.batch
    fresh = ~repeated(decoded, [head])
    settled = fresh & up_to(batch, *(np.full(len(batch), half, np.uint64) for half in fold_to))
    keep = _first_of_each(batch, np.flatnonzero(fresh & ~settled))
    live = fold(batch, decoded.group, settled)
    recent = live[batch.event_time[live] > remove_to]
    kept = np.sort(np.concatenate([keep, recent]))
    rows_before = len(np.unique(batch.row_id[settled]))
    after = Header(
        base=len(kept),
        folded_to=fold_to,
        removed_to=max(head.removed_to, remove_to),
        removed=head.removed + rows_before - len(recent),
    )
    if not layout.tailed:
        table: NDArray[np.uint8] = np.frombuffer(log, np.uint8).reshape(-1, layout.width)
        return after.encode() + bytes(table[kept].tobytes())
    records = layout.split(log)
    return after.encode() + b"".join([records[index] for index in kept.tolist()])


def _first_of_each(batch: EditBatch, index: NDArray[np.intp]) -> NDArray[np.intp]:
    """Of edits repeated by (row id, position, sign), one."""
    keys = np.stack(
        [batch.row_id[index].view(np.uint64), batch.high[index], batch.low[index], batch.sign[index].astype(np.uint64)]
    )
    return index[np.sort(np.unique(keys, axis=1, return_index=True)[1])]
