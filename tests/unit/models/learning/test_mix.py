"""The rows of an update: what is held out stays held out, and the sample stands for all."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from models.learning.limits import Buffer
from models.learning.mix import mix, old_parts, part_of
from models.split import DAY_US, FIT, TAIL, TEST


def frame(first: int, rows: int, positives: int, part: int = FIT, day: int = 0) -> pa.Table:
    return pa.table(
        {
            "amount": pa.array(np.arange(rows, dtype=np.float32)),
            "event_key": [str(first + row) for row in range(rows)],
            "event_time": pa.array(np.full(rows, day * DAY_US) + np.arange(rows)),
            "subject": pa.array(np.zeros(rows, np.int64)),
            "label": pa.array(([1] * positives + [0] * (rows - positives)), pa.int8()),
            "part": pa.array(np.full(rows, part, np.int8)),
        }
    )


_OLD, _NEW = frame(0, 900, 30), frame(10_000, 200, 9, day=1)


def test_the_sample_stands_for_all_and_keeps_every_positive() -> None:
    found = mix(_OLD, old_parts(_OLD, False), _NEW, Buffer(negatives=100), seed=1, new_weight=3)
    fresh = found.filter(pa.array([int(key) >= 10_000 for key in found["event_key"].to_pylist()]))
    assert set(fresh["weight"].to_pylist()) == {3} and set(fresh["stands_for"].to_pylist()) == {1}
    old = found.filter(pa.array([int(key) < 10_000 for key in found["event_key"].to_pylist()]))
    label, weight = old["label"].to_numpy(), old["weight"].to_numpy()
    assert label.sum() == 30 and weight[label == 1].sum() == 30
    assert (label == 0).sum() == 100 and np.isclose(weight[label == 0].sum(), 870)
    assert found.num_rows == 130 + 200


@given(st.integers(0, 5))
def test_what_is_held_out_once_is_never_fitted(rounds: int) -> None:
    held: set[str] = set()
    frame_now, updated = _OLD, False
    for number in range(rounds + 1):
        new = frame(10_000 * (number + 1), 100, 5, day=number + 1)
        frame_now = mix(frame_now, old_parts(frame_now, updated), new, Buffer(negatives=200), seed=number)
        updated = True
        part, keys = frame_now["part"].to_numpy(), frame_now["event_key"].to_pylist()
        fitted = {key for key, one in zip(keys, part, strict=True) if one == FIT}
        assert not fitted & held
        held |= {key for key, one in zip(keys, part, strict=True) if one in (TAIL, TEST)}


def test_a_first_champions_test_calibrates_and_judges_later_ones() -> None:
    tested = frame(0, 400, 20, part=TEST)
    parts = old_parts(tested, False)
    assert set(parts.tolist()) == {TAIL, TEST} and 120 < (parts == TAIL).sum() < 280
    assert (old_parts(frame(0, 50, 5, part=TAIL), False) == FIT).all(), "the first version was fitted on its tail too"
    assert (old_parts(tested, True) == TEST).all()


def test_an_event_that_comes_again_counts_once_and_as_new() -> None:
    again = frame(0, 50, 50, day=1)
    found = mix(_OLD, old_parts(_OLD, False), again, Buffer(), seed=1)
    assert found.num_rows == 900
    assert len(set(found["event_key"].to_pylist())) == 900


def test_rows_older_than_the_buffers_days_are_not_fitted() -> None:
    late = frame(10_000, 200, 9, day=100)
    found = mix(_OLD, old_parts(_OLD, False), late, Buffer(days=35), seed=1)
    assert found.num_rows == 200


def test_parts_are_told_by_the_key_alone() -> None:
    keys = [str(key) for key in range(5_000)]
    parts = part_of(keys)
    assert (parts == part_of(keys)).all()
    shares = [(parts == part).mean() for part in (FIT, TAIL, TEST)]
    assert np.allclose(shares, [0.8, 0.1, 0.1], atol=0.02)
