"""Who may serve, and from which score on something is done."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import gate, thresholds
from models.errors import GateError
from models.evaluation import Evaluation
from models.gate import Trial
from models.recipe import Gate
from tests.unit.models.test_registry import version

_FINE = Trial(1e-7, 1e-7, 100, 2.0)


def _judged(average_precision: float, auc_roc: float = 0.9, brier: float = 0.05) -> Evaluation:
    return Evaluation(100, 10, 0, auc_roc, average_precision, 0.3, 100, 7, brier, 0.09)


def _refusal(how: Gate, candidate: Evaluation, champion: Evaluation | None = None, trial: Trial = _FINE) -> str:
    return gate.refusal(gate.checks(how, candidate, trial, champion))


def test_worse_by_more_than_the_margin_is_refused_with_the_figures() -> None:
    reason = _refusal(Gate("average_precision", 0.02), _judged(0.60), _judged(0.63))
    assert "0.6000" in reason
    assert "0.6300" in reason


@pytest.mark.parametrize("champion", [0.5, 0.6, 0.62])
def test_better_equal_or_within_the_margin_may_serve(champion: float) -> None:
    assert _refusal(Gate("average_precision", 0.0200001), _judged(0.60), _judged(champion)) == ""


def test_the_recipes_measure_counts() -> None:
    assert _refusal(Gate("auc_roc", 0.01), _judged(0.1, auc_roc=0.9), _judged(0.9, auc_roc=0.9)) == ""


@pytest.mark.parametrize(
    ("floor", "wrong"),
    [
        (Gate(average_precision_floor=0.61), "average_precision is 0.6000, the recipe's floor is 0.61"),
        (Gate(auc_roc_floor=0.95), "auc_roc is 0.9000, the recipe's floor is 0.95"),
        (Gate(top_precision_floor=0.4), "top_precision is 0.3000"),
        (Gate(brier_skill_floor=0.5), "brier_skill is 0.4444"),
        (Gate(latency_p99_ms=1.5), "p99 2.00 ms a call with one row, allowed are 1.5 ms"),
    ],
)
def test_a_floor_holds_for_the_first_version_too(floor: Gate, wrong: str) -> None:
    assert wrong in _refusal(floor, _judged(0.60))
    assert _refusal(Gate(), _judged(0.60)) == ""


@pytest.mark.parametrize("difference", [1e-4, float("nan")])
def test_triton_must_say_what_onnxruntime_says_on_held_out_rows(difference: float) -> None:
    assert "away from onnxruntime" in _refusal(Gate(), _judged(0.6), trial=Trial(0.0, difference, 100, 1.0))


def test_every_reason_is_told() -> None:
    reason = _refusal(Gate(auc_roc_floor=0.95, latency_p99_ms=1), _judged(0.5), _judged(0.6))
    assert reason.count(";") == 2


def test_a_version_for_other_inputs_never_serves() -> None:
    record = version(1)
    gate.check_schema(record, ("a",), "")
    for inputs, wrong in ((("b",), "takes a as input 1, the service gives b"), (("a", "b"), "gives b")):
        with pytest.raises(GateError, match=wrong):
            gate.check_schema(record, inputs, "")
    with pytest.raises(GateError, match="meant something else"):
        gate.check_schema(msgspec.structs.replace(record, inputs_hash="old"), ("a",), "new")


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


def test_the_threshold_of_least_cost_weighs_reviews_against_losses() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    labels = np.array([1, 0, 1, 0, 0])
    lost = np.array([100.0, 50.0, 30.0, 20.0, 10.0])
    found = thresholds.by_cost(scores, labels, lost, days=2, review_cost=10, policy_review=0.85)
    assert (found.review, found.reviews_per_day) == (0.7, 1.5)
    assert (found.cost_per_day, found.cost_without, found.cost_of_policy) == (15, 65, 20)


def test_no_review_where_none_pays() -> None:
    found = thresholds.by_cost(np.array([0.9, 0.1]), np.array([0, 1]), np.array([5.0, 5.0]), 1, 10, 0.5)
    assert found.review > 0.9
    assert (found.reviews_per_day, found.cost_per_day) == (0, 5)


_ROWS = st.lists(st.tuples(st.integers(0, 1), st.sampled_from([0.1, 0.2, 0.5]), st.floats(0, 100)), min_size=1)


@given(_ROWS, st.floats(0, 50))
def test_no_threshold_costs_less(rows: list[tuple[int, float, float]], review_cost: float) -> None:
    labels, scores, lost = (np.array(column) for column in zip(*rows, strict=True))
    found = thresholds.by_cost(scores, labels, lost, 1, review_cost, 0.2)
    costs = [
        (scores >= at).sum() * review_cost + lost[(scores < at) & (labels == 1)].sum()
        for at in (0.1, 0.2, 0.5, 0.6, found.review)
    ]
    assert found.cost_per_day == pytest.approx(min(costs))
    assert costs[-1] == pytest.approx(found.cost_per_day)
    assert found.cost_of_policy == pytest.approx(costs[1])
