"""Drift: the index of a column that moved, of one that did not, what is past its limit, and what is said of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.settings import Drift as Limits
from models.drift import kept, measure
from models.drift.kept import Drift, FeatureDrift, LabelDelay

_LABELS = LabelDelay(10, 48.0, 90.0, 24.0)


def _normal(seed: int, rows: int, mean: float = 0.0) -> measure.Column:
    return np.random.default_rng(seed).normal(mean, 1, rows).astype(np.float32)


@given(st.lists(st.floats(-1e6, 1e6, width=32), max_size=60), st.lists(st.floats(-1e6, 1e6, width=32), max_size=60))
def test_the_index_is_never_negative_and_nothing_for_the_same(one: list[float], other: list[float]) -> None:
    first, second = np.array(one, np.float32), np.array(other, np.float32)
    assert measure.psi(first, second) >= -1e-9 and math.isfinite(measure.psi(first, second))
    assert abs(measure.psi(first, first)) < 1e-9
    assert 0 <= measure.unseen_share(first, second) <= 1 and measure.unseen_share(first, first) == 0


def test_what_has_not_changed_is_near_what_chance_gives() -> None:
    found = [measure.psi(_normal(seed, 20_000), _normal(seed + 100, 1_000)) for seed in range(20)]
    assert 0.5 < np.mean(found) / measure.chance(measure.BINS, 20_000, 1_000) < 2


def test_a_shift_of_one_deviation_is_a_large_one_and_of_a_tenth_is_not() -> None:
    assert measure.psi(_normal(1, 20_000), _normal(2, 5_000, 1.0)) > 0.25
    assert measure.psi(_normal(1, 20_000), _normal(2, 5_000, 0.1)) < 0.1


def test_categories_are_counted_one_by_one() -> None:
    training = np.array([0, 1] * 500, np.float32)
    assert measure.categorical(training) and not measure.categorical(_normal(1, 100))
    assert measure.psi(training, np.array([0, 0, 0, 1] * 100, np.float32)) == pytest.approx(
        (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5), abs=0.02
    )
    assert measure.unseen_share(training, np.array([0, 1, 2, 2], np.float32)) == 0.5
    assert measure.unseen_share(np.arange(100, dtype=np.float32), np.array([-1, 50, 99, 100], np.float32)) == 0.5


def _feature(**changed: float) -> FeatureDrift:
    fields = {"psi": 0.01, "psi_by_chance": 0.01, "missing_share": 0.0, "training_missing_share": 0.0,
              "unseen_share": 0.0, "mean": 2.0, "training_mean": 1.0}  # fmt: skip
    return FeatureDrift("v:f", **(fields | changed))


@pytest.mark.parametrize(
    ("feature", "words"),
    [
        (_feature(psi=0.3), "v:f is distributed otherwise (PSI 0.30, mean 2 instead of 1)"),
        (_feature(psi=0.3, psi_by_chance=0.2), ""),
        (_feature(missing_share=0.2, training_missing_share=0.1), "20.0% of v:f is missing, 10.0% in training"),
        (_feature(missing_share=0.2, training_missing_share=0.2), ""),
        (_feature(unseen_share=0.02), "2.0% of v:f are values that training has not seen"),
        (_feature(), ""),
    ],
)
def test_what_is_past_its_limit_is_said(feature: FeatureDrift, words: str) -> None:
    assert kept.findings([feature], 0.0, _LABELS, True, Limits()) == ([words] if words else [])
    assert kept.findings([feature], 0.0, _LABELS, False, Limits()) == []


def test_the_worst_comes_first_and_labels_count_without_rows() -> None:
    silent = LabelDelay(10, 48.0, 90.0, 400.0)
    found = kept.findings([_feature(psi=0.5)], 2.0, silent, True, Limits())
    assert [one.split()[0] for one in found] == ["scores", "v:f", "no"]
    assert kept.findings([], None, silent, False, Limits()) == ["no label has come for 400 hours of the data's time"]


def test_the_figures_are_prometheus_text() -> None:
    drift = Drift("s", "m", "1", 2_000_000, 0.0, 7, 9, False, None, [_feature(psi=0.3)], _LABELS, ["a"])
    text = kept.prometheus([drift])
    assert 'appliance_drift_psi{service="s",feature="v:f"} 0.3\n' in text
    assert 'appliance_drift_findings{service="s"} 1\n' in text and "score_psi{" not in text
    assert kept.prometheus([]) == ""
