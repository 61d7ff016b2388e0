"""The sequential test: its error, its power, and that neither order nor cutting into rounds matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.learning.evidence import Pairs, e_value, weigh

_ADVANTAGES = st.lists(st.floats(-1, 1), max_size=60)


@given(_ADVANTAGES, st.randoms())
def test_the_order_of_events_changes_nothing(advantages: list[float], random: object) -> None:
    shuffled = sorted(advantages, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert e_value(np.array(shuffled)) == pytest.approx(e_value(np.array(advantages)), rel=1e-9)


@given(_ADVANTAGES)
def test_it_is_never_negative_and_begins_at_one(advantages: list[float]) -> None:
    assert e_value(np.array([])) == pytest.approx(1)
    assert e_value(np.array(advantages)) >= 0


@given(_ADVANTAGES, st.floats(-1, 1))
def test_the_mean_wealth_of_a_fair_next_event_is_the_wealth_before(advantages: list[float], size: float) -> None:
    """What makes it a martingale: an advantage and a disadvantage of one size, each as likely."""
    before = e_value(np.array(advantages))
    after = [e_value(np.array([*advantages, step])) for step in (size, -size)]
    assert sum(after) / 2 == pytest.approx(before, rel=1e-9)


def test_looked_at_after_every_label_it_errs_as_seldom_as_it_says() -> None:
    """2,000 runs of 300 fair events, stopped at the best moment: at most 5 % may ever reach 20 (here with 3 sigma)."""
    chance = np.random.default_rng(3)
    reached = 0
    for _ in range(2_000):
        steps = chance.choice([-0.8, -0.1, 0.1, 0.8], 300, p=[0.05, 0.45, 0.45, 0.05])
        wealth = np.cumsum(np.log1p(np.outer((0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9), steps)), axis=1)
        reached += bool((np.exp(wealth).mean(axis=0) >= 20).any())
    assert reached / 2_000 <= 0.05 + 3 * (0.05 * 0.95 / 2_000) ** 0.5


def test_a_challenger_that_finds_what_the_champion_misses_is_known_by_a_few_labels() -> None:
    label = np.array([1] * 12 + [0] * 600, np.int8)
    blind = np.full(len(label), 0.01)
    seeing = np.where(label == 1, 0.7, 0.01)
    evidence = weigh(Pairs(label, blind, seeing))
    assert evidence.better > 20 and evidence.worse < 1
    assert weigh(Pairs(label, seeing, blind)).worse == pytest.approx(evidence.better)
    assert evidence.calibration_challenger == pytest.approx((12 * 0.7 + 6 - 12) / 12)
