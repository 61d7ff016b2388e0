"""Which inputs moved a score: Shapley values by sampling permutations, against rows of the training set.

Interventional Shapley values: an input that has not joined yet has the value of a background row. Estimated by walks
from a background row to the row in question, one input at a time, in a random order and in its reverse (antithetic:
Mitchell et al. 2022, JMLR 23(43)); the average of an input's steps is its value (Castro, Gómez, Tejada 2009; Štrumbelj
& Kononenko 2014). Every background row begins the same number of walks, so the values add up to the score less the mean
background score, whatever the number of walks. Needs nothing of the model but its scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Evaluate = Callable[[Rows], Scores]
"""Rows [n, k] → scores [n]."""

WALKS = 64
"""Pairs of walks for one row."""


@dataclass(frozen=True)
class Attribution:
    """values, errors: float64 [k], each input's part of the score, and its standard error over pairs of walks.

    base: mean score of the background rows. gap: |base + sum of values - score|, of rounding only. evaluations: rows
    that the model was asked for.
    """

    values: Scores
    errors: Scores
    base: float
    score: float
    gap: float
    evaluations: int


def attribute(evaluate: Evaluate, row: Rows, against: Rows, base: Scores, seed: int, walks: int = WALKS) -> Attribution:
    """Of one row [k]. against [b, k], base [b]: background rows and their scores.

    Asks for 1 + 2 * walks * (k - 1) rows. walks is rounded up to a multiple of b.
    """
    width, chance = len(row), np.random.default_rng(seed)
    starts = np.tile(np.arange(len(against)), -(-walks // len(against)))
    joins = np.argsort(chance.random((len(starts), width)), axis=1)
    both, begin = np.concatenate([joins, width - 1 - joins]), np.concatenate([starts, starts])
    steps = np.arange(1, width)
    joined = both[:, None, :] < steps[None, :, None]
    asked = np.where(joined, row[None, None, :], against[begin][:, None, :]).astype(np.float32)
    found = evaluate(np.concatenate([row[None, :], asked.reshape(-1, width)]))
    score = float(found[0])
    path = np.empty((len(begin), width + 1))
    path[:, 0], path[:, -1] = base[begin], score
    path[:, 1:-1] = found[1:].reshape(len(begin), width - 1)
    each = np.take_along_axis(np.diff(path, axis=1), both, axis=1)
    pairs = (each[: len(starts)] + each[len(starts) :]) / 2
    values = pairs.mean(axis=0)
    errors = pairs.std(axis=0, ddof=1) / np.sqrt(len(pairs)) if len(pairs) > 1 else np.full(width, np.nan)
    mean = float(base[starts].mean())
    return Attribution(values, errors, mean, score, abs(mean + float(values.sum()) - score), len(found))
