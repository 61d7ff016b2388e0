"""What the loop may do by itself: the table ``[learning]`` of a recipe."""

from __future__ import annotations

from typing import Annotated

import msgspec

_Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Amount = Annotated[float, msgspec.Meta(gt=0)]
_Count = Annotated[int, msgspec.Meta(ge=1)]


class Buffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Old rows to fit: of the ``days`` before the newest row, ``positives`` (the newest) and ``negatives`` (drawn).

    held_out: rows of tail and of test each, the newest.
    """

    days: int = 35
    positives: int = 5_000
    negatives: int = 40_000
    held_out: int = 60_000


class Learning(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times are those of the labels (``known_at``), so a replay at any speed decides alike.

    update_hours: between two candidates. update_rows, update_positives: new rows with a label that one needs.
    challenger_days: a test that has decided nothing by then ends, and the next candidate begins another. former_days:
    how long the champion before is kept in shadow. error_level: chance that a test in which no challenger is better
    ever promotes one. way_back_error_level: the same for the way back. min_positives: fewer decide nothing.
    calibration_error: allowed distance of expected from found positives, as a share, unless the champion is farther
    off. alert_ratio: allowed alerts of a challenger, times those of the champion. latency_ratio: allowed time of a row
    in Triton, times its. learning_rate, epochs: of the warm start. new_weight: of a new row, times that of an old one.
    buffer: the replay buffer.
    """

    update_hours: _Amount = 8
    update_rows: _Count = 1_000
    update_positives: _Count = 10
    challenger_days: _Amount = 2
    former_days: _Amount = 7
    error_level: _Share = 0.05
    way_back_error_level: _Share = 0.05
    min_positives: _Count = 10
    calibration_error: _Amount = 0.5
    alert_ratio: _Amount = 2.0
    latency_ratio: _Amount = 2.0
    learning_rate: _Amount = 0.005
    epochs: _Count = 20
    new_weight: _Amount = 4
    buffer: Buffer = Buffer()
