"""Thresholds for the policy, from scores of rows that the model was not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.registry import Thresholds


def suggest(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], days: float, daily_capacity: int, precision: float
) -> Thresholds:
    """Thresholds from the tail, scores and labels [n] over ``days`` days.

    review: the score that ``daily_capacity`` rows a day reach (0 when there are fewer rows).
    decline: the lowest score from which on at least ``precision`` of the rows are positive; None if there is none.
    """
    per_day = len(scores) / days
    order = np.argsort(-scores, kind="stable")
    taken = round(daily_capacity * days)
    review = float(scores[order[taken - 1]]) if 0 < taken <= len(scores) else 0.0
    share = np.cumsum(labels[order]) / np.arange(1, len(scores) + 1)
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    sure = np.flatnonzero((share >= precision) & last_of_score)
    decline = float(scores[order[sure[-1]]]) if len(sure) else None
    return Thresholds(review=review, decline=decline, tail_rows_per_day=per_day)
