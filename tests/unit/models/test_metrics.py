"""Our measures are those of scikit-learn, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_curve, roc_auc_score

from models.metrics import (
    auc_roc,
    average_precision,
    brier,
    precision_recall,
    reliability,
    top_precision_by_day,
)

_PAIRS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.2, 0.5, 0.9])), min_size=2, max_size=60)


@given(_PAIRS)
def test_equal_to_scikit_learn(pairs: list[tuple[int, float]]) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score for _, score in pairs])
    if labels.sum() in (0, len(labels)):
        with pytest.raises(ValueError, match="needs"):
            auc_roc(labels, scores)
        return
    assert auc_roc(labels, scores) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores), abs=1e-12)


def test_average_precision_needs_a_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        average_precision(np.zeros(3, dtype=np.int64), np.zeros(3))


def test_top_precision_leaves_out_what_was_found_before() -> None:
    days = np.array([0, 0, 0, 1, 1, 1])
    keys = np.array([7, 8, 9, 7, 8, 9])
    labels = np.array([1, 0, 0, 1, 1, 0])
    scores = np.array([0.9, 0.8, 0.1, 0.9, 0.8, 0.1])
    # day 0: 7 and 8 looked at, 7 found; day 1: 7 is left out, 8 and 9 looked at, 8 found
    assert top_precision_by_day(days, keys, labels, scores, 2) == [0.5, 0.5]


def test_top_precision_takes_a_keys_highest_score() -> None:
    days, keys = np.zeros(3, dtype=np.int64), np.array([1, 1, 2])
    assert top_precision_by_day(days, keys, np.array([0, 1, 0]), np.array([0.9, 0.1, 0.5]), 1) == [1.0]


@given(_PAIRS)
def test_brier_and_the_curve_are_scikit_learns(pairs: list[tuple[int, float]]) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score for _, score in pairs])
    assert brier(labels, scores) == pytest.approx(brier_score_loss(labels, scores, pos_label=1), abs=1e-12)
    if not labels.sum():
        with pytest.raises(ValueError, match="positive"):
            precision_recall(labels, scores)
        return
    precision, recall = precision_recall(labels, scores)
    theirs_precision, theirs_recall, _ = precision_recall_curve(labels, scores, drop_intermediate=False)
    assert precision == pytest.approx(theirs_precision[:-1][::-1])
    assert recall == pytest.approx(theirs_recall[:-1][::-1])


@given(_PAIRS, st.integers(1, 12))
def test_reliability_parts_the_rows_and_keeps_their_order(pairs: list[tuple[int, float]], bins: int) -> None:
    labels = np.array([label for label, _ in pairs])
    scores = np.array([score for _, score in pairs])
    made = reliability(labels, scores, bins)
    assert 1 <= len(made) <= bins
    assert sum(each.rows for each in made) == len(pairs)
    assert sum(each.rows * each.positive_share for each in made) == pytest.approx(labels.sum())
    means = [each.mean_score for each in made]
    assert means == sorted(means)
    assert len(set(means)) == len(means)


def test_reliability_of_a_rare_class_spreads_the_positives() -> None:
    random = np.random.default_rng(1)
    scores = random.random(100_000) ** 6
    labels = (random.random(100_000) < scores).astype(np.int64)
    positives = [each.rows * each.positive_share for each in reliability(labels, scores, 5)]
    assert len(positives) == 5
    assert max(positives) / min(positives) < 1.2
