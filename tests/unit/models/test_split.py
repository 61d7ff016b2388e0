"""Past, gap, later; and labels only when they were known."""

from __future__ import annotations

import numpy as np
import pytest

from models import split
from models.errors import TrainingSetError
from models.evaluation import unknown_subjects
from models.recipe import Periods
from models.split import DAY_US, FIT, TAIL, TEST, UNUSED, Split

_D = DAY_US
_SPLIT = Split(0, 5 * _D, 7 * _D, 14 * _D, 21 * _D)


def test_latest_possible_ends_a_gap_before_the_last_day() -> None:
    made = split.make(Periods(7, 7, 7, 2), None, None, last_event=100 * _D + 5)
    assert (made.train_from, made.tail_from, made.train_to) == (72 * _D, 77 * _D, 79 * _D)
    assert (made.test_from, made.test_to) == (86 * _D, 93 * _D)


def test_start_alone_gives_the_recipes_length() -> None:
    assert split.make(Periods(7, 7, 7, 2), 10 * _D, None, 0).train_to == 17 * _D


def test_period_shorter_than_its_tail_is_refused() -> None:
    with pytest.raises(TrainingSetError, match="nothing is left to fit"):
        split.make(Periods(7, 7, 7, 2), 10 * _D, 12 * _D, 0)


def test_parts_by_time() -> None:
    times = np.array([-1, 0, 5 * _D - 1, 5 * _D, 7 * _D, 14 * _D - 1, 14 * _D, 21 * _D - 1, 21 * _D])
    parts = _SPLIT.parts(times, times, np.ones(len(times), dtype=bool))
    assert parts.tolist() == [UNUSED, FIT, FIT, TAIL, UNUSED, UNUSED, TEST, TEST, UNUSED]


def test_a_past_label_that_came_after_the_cut_is_not_used() -> None:
    times = np.array([_D, _D, _D, 15 * _D])
    known_at = np.array([14 * _D, 14 * _D + 1, 0, 99 * _D])
    labelled = np.array([True, True, False, True])
    assert _SPLIT.parts(times, known_at, labelled).tolist() == [FIT, UNUSED, UNUSED, TEST]


def test_subjects_known_before_a_test_day_are_left_out_from_that_day_on() -> None:
    times = np.array([8 * _D, 14 * _D, 15 * _D, 16 * _D, 15 * _D])
    known_at = np.array([15 * _D - 1, 21 * _D, 22 * _D, 23 * _D, 22 * _D])
    subject = np.array([1, 1, 1, 1, 2])
    positive = np.array([True, False, False, False, False])
    kept = unknown_subjects(times, known_at, subject, positive, _SPLIT)
    assert kept.tolist() == [False, True, False, False, True]
