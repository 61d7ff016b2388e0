"""Calibration: two numbers that turn logits into probabilities (Platt 1999), fitted on rows not trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_PRIOR_STEPS = 200
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(slope * logit + offset)."""

    slope: float
    offset: float


def _sigmoid(z: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 0.5 * (1 + np.tanh(z / 2))


def fit(logits: npt.NDArray[np.float64], labels: npt.NDArray[np.float64]) -> Calibration:
    """Maximum likelihood with Platt's smoothed targets, by Newton's method. [n], [n] → Calibration.

    The slope must be positive, else the order of the scores would turn: then only the offset is fitted.
    """
    positives = labels.sum()
    high, low = (positives + 1) / (positives + 2), 1 / (len(labels) - positives + 2)
    target = np.where(labels == 1, high, low)
    inputs = np.stack([logits, np.ones_like(logits)], axis=1)
    weights = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        probability = _sigmoid(inputs @ weights)
        gradient = inputs.T @ (probability - target)
        curvature = inputs.T @ (inputs * (probability * (1 - probability))[:, None]) + 1e-9 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        weights = weights - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    if np.isfinite(weights).all() and weights[0] > 0:
        return Calibration(float(weights[0]), float(weights[1]))
    return Calibration(1.0, _offset(logits, float(target.mean())))


def _offset(logits: npt.NDArray[np.float64], rate: float) -> float:
    """The offset with which the mean probability is ``rate``, by bisection."""
    low, high = -60.0, 60.0
    for _ in range(_PRIOR_STEPS):
        middle = (low + high) / 2
        if _sigmoid(logits + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2
