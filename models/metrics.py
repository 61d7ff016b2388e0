"""Measures of a ranking, in plain numpy, so that they run in every environment of ours.

Definitions are those of scikit-learn's ``roc_auc_score`` and ``average_precision_score`` (tests compare them).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]
Keys = npt.NDArray[np.integer]


def auc_roc(labels: Labels, scores: Floats) -> float:
    """Chance that a random positive scores above a random negative, ties count half. [n], [n] → 0…1.

    Raises ValueError when there is only one class.
    """
    positives = int(labels.sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        raise ValueError(f"AUC ROC needs both classes: {positives} positives, {negatives} negatives")
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(mean_rank[group][labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def average_precision(labels: Labels, scores: Floats) -> float:
    """Sum over thresholds of (gain in recall) x precision. [n], [n] → 0…1. Raises ValueError without a positive."""
    positives = int(labels.sum())
    if positives == 0:
        raise ValueError("average precision needs at least one positive")
    order = np.argsort(-scores, kind="stable")
    found = np.cumsum(labels[order])
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    found_at = found[last_of_score]
    taken_at = np.flatnonzero(last_of_score) + 1
    gain = np.diff(found_at, prepend=0) / positives
    return float(np.sum(gain * found_at / taken_at))


def top_precision_by_day(days: Keys, keys: Keys, labels: Labels, scores: Floats, top: int) -> list[float]:
    """Share of the ``top`` keys (customers) with the highest score of a day that have a positive that day, a day each.

    A key that was found on a day (among its top and positive) is left out on the days after: the card is blocked.
    Handbook of card fraud detection, "Card Precision@k". All arrays [n]; the result has one value a day, in order.
    """
    found: set[int] = set()
    shares = []
    for day in np.unique(days):
        of_day = (days == day) & ~np.isin(keys, np.fromiter(found, dtype=np.int64, count=len(found)))
        unique, group = np.unique(keys[of_day], return_inverse=True)
        best = np.full(len(unique), -np.inf)
        np.maximum.at(best, group, scores[of_day])
        positive = np.zeros(len(unique), dtype=bool)
        np.logical_or.at(positive, group, labels[of_day] == 1)
        chosen = np.argsort(-best, kind="stable")[:top]
        hits = unique[chosen][positive[chosen]]
        found.update(int(key) for key in hits)
        shares.append(len(hits) / top)
    return shares


def precision_recall(labels: Labels, scores: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """(precision, recall) of everything from a score on, for each score, the highest first. [n], [n] → [m], [m].

    Raises ValueError without a positive.
    """
    positives = int(labels.sum())
    if positives == 0:
        raise ValueError("recall needs at least one positive")
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    found = np.cumsum(labels[order])[last_of_score]
    return found / (np.flatnonzero(last_of_score) + 1), found / positives


def brier(labels: Labels, scores: Floats) -> float:
    """Mean squared distance of probability and outcome (Brier 1950). [n], [n] → 0…1, the lower the better."""
    return float(np.mean((scores.astype(np.float64) - labels) ** 2))


@dataclass(frozen=True)
class Bin:
    """Rows of like score: their number, mean score and share of positives."""

    rows: int
    mean_score: float
    positive_share: float


def reliability(labels: Labels, scores: Floats, bins: int = 10) -> list[Bin]:
    """Scores against outcomes, the lowest first. [n], [n] → at most ``bins``.

    Bins hold about the same number of positives, not of rows: where positives are rare, bins of the same width or
    number of rows would put nearly all of them into one. Rows of one score are never parted.
    """
    order = np.argsort(scores, kind="stable")
    found = np.cumsum(labels[order])
    wanted = found[-1] * np.arange(1, bins) / bins
    borders = scores[order][np.minimum(np.searchsorted(found, wanted), len(scores) - 1)]
    which = np.searchsorted(np.unique(borders), scores, side="left")
    made = []
    for number in np.unique(which):
        rows = which == number
        made.append(Bin(int(rows.sum()), float(scores[rows].mean()), float(labels[rows].mean())))
    return made
