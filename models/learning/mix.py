"""What an updated version learns from: new rows and a sample of the old ones (its replay buffer).

Columns of a frame: the model's inputs, ``label``, ``part``, ``stands_for`` (how many rows it stands for), ``weight``
(that, and more for a new row: what the loss takes), ``event_key``, ``event_time``, ``subject``. A row's part is told by
a hash of its event key, so a row that was once held out is held out from every later version too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from models.learning.limits import Buffer
from models.split import DAY_US, FIT, TAIL, TEST

Parts = npt.NDArray[np.int8]


def part_of(event_keys: Sequence[str]) -> Parts:
    """Of ten new rows eight are fitted, one calibrates (tail), one judges (test). [n]."""
    tenth = [hashlib.blake2b(key.encode(), digest_size=4).digest()[0] % 10 for key in event_keys]
    return np.array([TAIL if one == 8 else TEST if one == 9 else FIT for one in tenth], np.int8)


def _halves(event_keys: Sequence[str]) -> Parts:
    """Rows that judged a version trained from nothing: half of them calibrate later ones."""
    return np.array([TAIL if hashlib.blake2b(key.encode(), digest_size=4).digest()[1] % 2 else TEST
                     for key in event_keys], np.int8)  # fmt: skip


def old_parts(frame: pa.Table, updated: bool) -> Parts:
    """The parts that rows of the champion's frame have in the next one's.

    updated: the champion was itself an update; else it was fitted on its tail too, and only its test is untouched.
    """
    part: Parts = frame["part"].to_numpy().astype(np.int8)
    if updated:
        return part
    keys = frame["event_key"].to_pylist()
    return np.where(part == TEST, _halves(keys), FIT).astype(np.int8)


def mix(old: pa.Table, old_part: Parts, new: pa.Table, buffer: Buffer, seed: int, new_weight: float = 1.0) -> pa.Table:
    """New rows, and as many of the old ones as the buffer holds; an event that is in both is new.

    Old rows to fit: the newest positives, and negatives drawn at random, each of which stands for those left out.
    """
    known = pc.is_in(old["event_key"], value_set=new["event_key"].combine_chunks()).to_numpy(zero_copy_only=False)
    label, time = old["label"].to_numpy(), old["event_time"].to_numpy()
    stands_for = _stands_for(old)
    begin = max(int(time.max(initial=0)), int(pc.max(new["event_time"]).as_py() or 0)) - buffer.days * DAY_US
    fit = ~known & (old_part == FIT) & (time >= begin)
    positives = _newest(np.flatnonzero(fit & (label == 1)), time, buffer.positives)
    negatives = np.flatnonzero(fit & (label == 0))
    drawn = negatives
    if len(negatives) > buffer.negatives:
        drawn = np.random.default_rng(seed).choice(negatives, buffer.negatives, replace=False)
        stands_for[drawn] *= stands_for[negatives].sum() / stands_for[drawn].sum()
    held = [_newest(np.flatnonzero(~known & (old_part == part)), time, buffer.held_out) for part in (TAIL, TEST)]
    chosen = np.sort(np.concatenate([positives, drawn, *held]))
    kept = _with(old.take(pa.array(chosen)), old_part[chosen], stands_for[chosen], 1.0)
    fresh = _with(new, part_of(new["event_key"].to_pylist()), np.ones(new.num_rows), new_weight)
    return pa.concat_tables([kept, fresh.select(kept.column_names).cast(kept.schema)])


def _stands_for(frame: pa.Table) -> npt.NDArray[np.float64]:
    if "stands_for" not in frame.column_names:
        return np.ones(frame.num_rows)
    return np.array(frame["stands_for"].to_numpy(), np.float64)


def _newest(rows: npt.NDArray[np.int64], time: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    return rows[np.argsort(-time[rows], kind="stable")[:most]]


def _with(frame: pa.Table, part: Parts, stands_for: npt.NDArray[np.float64], times: float) -> pa.Table:
    columns = {
        "part": part,
        "stands_for": stands_for.astype(np.float32),
        "weight": (stands_for * times).astype(np.float32),
    }
    for name, values in columns.items():
        if name in frame.column_names:
            frame = frame.drop_columns([name])
        frame = frame.append_column(name, pa.array(values))
    return frame
