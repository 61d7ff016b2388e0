"""Shapley values by sampling: the axioms, and the exact values of models small enough to compute them."""

from __future__ import annotations

from itertools import permutations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.shapley import Rows, Scores, attribute


def _interacting(x: Rows) -> Scores:
    wide = x.astype(np.float64)
    return 1 / (1 + np.exp(-(wide[:, 0] * wide[:, 1] + 2 * wide[:, 2] - np.maximum(wide[:, 0], wide[:, 3]))))


def _exact(row: Rows, against: Rows) -> Scores:
    """By every order and every background row."""
    orders = list(permutations(range(len(row))))
    found = np.zeros(len(row))
    for start in against:
        for order in orders:
            at, before = start.copy(), _interacting(start[None, :])[0]
            for place in order:
                at[place] = row[place]
                after = _interacting(at[None, :])[0]
                found[place] += after - before
                before = after
    return found / (len(orders) * len(against))


@given(st.integers(0, 1_000), st.integers(2, 12), st.integers(1, 6), st.integers(1, 20))
def test_values_add_up_to_the_score_less_the_base(seed: int, width: int, rows: int, walks: int) -> None:
    chance = np.random.default_rng(seed)
    weights = chance.normal(size=(width, width))

    def model(x: Rows) -> Scores:
        wide = x.astype(np.float64)
        return np.tanh(np.einsum("ni,ij,nj->n", wide, weights, wide))

    row, against = chance.normal(size=width).astype(np.float32), chance.normal(size=(rows, width)).astype(np.float32)
    found = attribute(model, row, against, model(against), seed, walks)
    assert found.gap < 1e-9 and abs(found.score - model(row[None, :])[0]) < 1e-9
    assert found.evaluations == 1 + 2 * -(-walks // rows) * rows * (width - 1)


def test_an_input_that_does_nothing_has_no_part_and_a_sum_has_its_terms() -> None:
    weights = np.array([2.0, 0.0, -1.0])

    def model(x: Rows) -> Scores:
        return x.astype(np.float64) @ weights

    row, against = np.array([1, 5, 3], np.float32), np.array([[0, 0, 1], [1, 9, 2]], np.float32)
    found = attribute(model, row, against, model(against), 1)
    np.testing.assert_allclose(found.values, weights * (row - against.mean(axis=0)), atol=1e-12)
    assert found.values[1] == 0.0 == found.errors[1]


def test_the_exact_values_lie_within_the_stated_error() -> None:
    chance = np.random.default_rng(3)
    against = chance.normal(size=(8, 4)).astype(np.float32)
    outside = 0
    for seed in range(40):
        row = chance.normal(size=4).astype(np.float32)
        found = attribute(_interacting, row, against, _interacting(against), seed, 64)
        outside += int((np.abs(found.values - _exact(row, against)) > 2 * found.errors + 1e-12).sum())
    assert outside <= 8  # of 160; 5 % of a normal's
