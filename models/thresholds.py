"""Thresholds for the policy, from scores of rows that the model was not fitted on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from models.registry import ByCost, Thresholds

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64]


def suggest(scores: Floats, labels: Labels, days: float, daily_capacity: int, precision: float) -> Thresholds:
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


def by_cost(
    scores: Floats, labels: Labels, lost: Floats, days: float, review_cost: float, policy_review: float
) -> ByCost:
    """The threshold of least cost. scores, labels, lost (what a row costs if it is positive and missed): [n].

    Everything from the threshold on is looked at for ``review_cost`` each, and what is positive there is not lost.
    The threshold is one of the scores, or just above all of them where no review pays.
    """
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    losses = np.where(labels == 1, lost, 0.0).astype(np.float64)
    reviews = np.append(0, last_of_score + 1)
    costs = reviews * review_cost + losses.sum() - np.append(0.0, np.cumsum(losses[order])[last_of_score])
    best = int(np.argmin(costs))
    at = float(scores[order[last_of_score[best - 1]]]) if best else float(np.nextafter(scores.max(), np.inf))
    seen = scores >= policy_review
    return ByCost(
        review=at,
        reviews_per_day=float(reviews[best] / days),
        cost_per_day=float(costs[best] / days),
        cost_without=float(losses.sum() / days),
        cost_of_policy=float((seen.sum() * review_cost + losses[~seen].sum()) / days),
    )
