"""Who may serve, and from which score on something is done."""

from __future__ import annotations

import numpy as np
import pytest

from models import gate, thresholds
from models.errors import GateError
from models.evaluation import Evaluation
from models.recipe import Gate


def _judged(average_precision: float, auc_roc: float = 0.9) -> Evaluation:
    return Evaluation(100, 10, 0, auc_roc, average_precision, 0.3, 100, 7)


def test_worse_by_more_than_the_margin_is_refused_with_the_figures() -> None:
    reason = gate.refusal(Gate("average_precision", 0.02), _judged(0.60), _judged(0.63))
    assert "0.6000" in reason
    assert "0.6300" in reason


@pytest.mark.parametrize("champion", [0.5, 0.6, 0.62])
def test_better_equal_or_within_the_margin_may_serve(champion: float) -> None:
    assert gate.refusal(Gate("average_precision", 0.0200001), _judged(0.60), _judged(champion)) == ""


def test_the_recipes_measure_counts() -> None:
    assert gate.refusal(Gate("auc_roc", 0.01), _judged(0.1, auc_roc=0.9), _judged(0.9, auc_roc=0.9)) == ""


@pytest.mark.parametrize("difference", [2e-5, float("nan")])
def test_a_model_that_is_not_the_trained_one_is_refused(difference: float) -> None:
    with pytest.raises(GateError):
        gate.check_equal(difference)


def test_review_threshold_lets_through_what_can_be_looked_at() -> None:
    scores = np.arange(100) / 100
    labels = (scores >= 0.9).astype(np.int64)
    labels[95] = 0
    suggested = thresholds.suggest(scores, labels, days=2, daily_capacity=5, precision=0.9)
    assert (scores >= suggested.review).sum() == 10
    assert suggested.tail_rows_per_day == 50
    assert suggested.decline == pytest.approx(0.9)


def test_no_decline_threshold_where_no_score_is_sure() -> None:
    scores = np.array([0.9, 0.5, 0.1])
    assert thresholds.suggest(scores, np.array([0, 1, 0]), 1, 1, 0.9).decline is None


def test_decline_does_not_split_equal_scores() -> None:
    scores = np.array([0.9, 0.9, 0.1])
    assert thresholds.suggest(scores, np.array([1, 0, 0]), 1, 1, 0.9).decline is None
