"""One column as served against the same column of the training set."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[np.float32]

BINS = 10
MOST_CATEGORIES = 12
"""A column of at most so many different values is one of categories: each value is a bin."""
_WEIGHT = 0.5
"""Rows added to each bin, so that an empty one gives no infinity."""


def categorical(training: Column) -> bool:
    """training: without missing values."""
    return len(np.unique(training)) <= MOST_CATEGORIES


def psi(training: Column, served: Column) -> float:
    """Population stability index: sum over bins of (a - e) ln(a / e), a and e the shares of served and training rows.

    Bins are the training set's categories, or its deciles (Siddiqi 2006, Credit Risk Scorecards: from 0.1 a moderate
    shift, from 0.25 a large one). Both without missing values. 0 where one of them is empty.
    """
    if not len(training) or not len(served):
        return 0.0
    if categorical(training):
        categories = np.unique(training)
        expected, actual = _of_categories(training, categories), _of_categories(served, categories)
    else:
        edges = np.unique(np.quantile(training, np.linspace(0, 1, BINS + 1)[1:-1]))
        expected, actual = _of_edges(training, edges), _of_edges(served, edges)
    e, a = _shares(expected), _shares(actual)
    return float(((a - e) * np.log(a / e)).sum())


def chance(bins: int, training: int, served: int) -> float:
    """PSI to be expected of samples of that size although nothing has changed (Yurdakul 2018)."""
    return (bins - 1) * (1 / training + 1 / served) if training and served else 0.0


def unseen_share(training: Column, served: Column) -> float:
    """Share of served values that the training set does not have: no such category, or outside its range.

    Both without missing values.
    """
    if not len(training) or not len(served):
        return 0.0
    if categorical(training):
        return float((~np.isin(served, np.unique(training))).mean())
    return float(((served < training.min()) | (served > training.max())).mean())


def _of_categories(values: Column, categories: Column) -> npt.NDArray[np.int64]:
    """Rows of each category, and of none of them."""
    found = np.array([int((values == one).sum()) for one in categories])
    return np.append(found, len(values) - found.sum())


def _of_edges(values: Column, edges: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)


def _shares(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    weighted = rows + _WEIGHT
    return np.asarray(weighted / weighted.sum(), np.float64)
