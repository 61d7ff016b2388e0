"""A model of scikit-learn beside the network, on the same rows: what must be beaten for a network to be worth it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.train import spec, trees

NONE = "none"
_TREES = spec.Trees(count=150)


def _model(kind: str, data: spec.Arrays, seed: int) -> ClassifierMixin:
    """Fitted on the whole past, tail included."""
    past = data.part != spec.TEST
    if kind == "gradient_boosting":
        return trees.fit(_TREES, (), data.x[past], data.y[past], seed).model
    if kind == "logistic_regression":
        model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=500, random_state=seed))
        return model.fit(data.x[past], data.y[past])
    raise ValueError(f"there is no baseline {kind!r}; there are gradient_boosting, logistic_regression, {NONE}")


def scores(kind: str, data: spec.Arrays, seed: int) -> npt.NDArray[np.float64]:
    """Probabilities [n] of every row."""
    return np.asarray(_model(kind, data, seed).predict_proba(data.x)[:, 1])
