"""Boosted trees beside the networks: fitted by scikit-learn, computed by torch, so that one graph is exported.

A network sees smooth relations, trees see steps; the mean of their logits ranks better than either (docs/models.md has
the figures). The trees become matrix products, the GEMM strategy of Nakandala et al., *A Tensor Compiler for Unified
Machine Learning Prediction Serving* (OSDI 2020): every split of a tree is asked at once, and a leaf is reached where as
many of its splits say "left" as lie to the right above it say "right".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

from models.train import spec

Arrays = Mapping[str, Tensor]


def fit(
    how: spec.Trees,
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    seed: int,
    weight: npt.NDArray[np.float32] | None = None,
) -> HistGradientBoostingClassifier:
    """x: raw values [n, k], NaN where missing. y: [n]. weight: how many rows each row stands for, [n]."""
    return HistGradientBoostingClassifier(
        learning_rate=how.learning_rate, max_iter=how.count, max_leaf_nodes=how.leaves, l2_regularization=how.l2,
        early_stopping=False, random_state=seed,
    ).fit(x, y, weight)  # fmt: skip


class Trees(nn.Module):
    """T trees of at most L leaves: raw values [n, k] → logit [n, 1].

    feature, threshold, missing_left: [T, L - 1], of each split: x ≤ threshold goes left, a missing value where
    ``missing_left`` says. path: [T, L - 1, L], 1 where the leaf is left of the split, -1 right, 0 elsewhere. wanted:
    [T, L], the number of splits that the leaf is left of; -1 for a leaf that is not there. value: [T, L].
    """

    def __init__(self, arrays: Arrays) -> None:
        super().__init__()
        for name, values in arrays.items():
            self.register_buffer(name, values)

    @classmethod
    def of(cls, model: HistGradientBoostingClassifier) -> Trees:
        """The same trees. Reads what scikit-learn keeps of a fitted model; the lock pins its version."""
        trees = [each[0].nodes for each in model._predictors]
        leaves = max(int(nodes["is_leaf"].sum()) for nodes in trees)
        shape = (len(trees), max(leaves - 1, 1))
        feature, missing = np.zeros(shape, np.int64), np.zeros(shape, bool)
        threshold = np.zeros(shape, np.float32)
        path = np.zeros((*shape, leaves), np.float32)
        wanted, value = np.full((len(trees), leaves), -1, np.float32), np.zeros((len(trees), leaves), np.float32)
        for number, nodes in enumerate(trees):
            splits = {int(node): place for place, node in enumerate(np.flatnonzero(~nodes["is_leaf"].astype(bool)))}
            for node, place in splits.items():
                feature[number, place] = nodes["feature_idx"][node]
                threshold[number, place] = _at_most(nodes["num_threshold"][node])
                missing[number, place] = nodes["missing_go_to_left"][node]
            _walk(nodes, splits, (path[number], wanted[number], value[number]))
        return cls(
            {
                "feature": torch.from_numpy(feature), "threshold": torch.from_numpy(threshold),
                "missing_left": torch.from_numpy(missing), "path": torch.from_numpy(path),
                "wanted": torch.from_numpy(wanted), "value": torch.from_numpy(value),
                "base": torch.tensor(float(model._baseline_prediction[0, 0]), dtype=torch.float32),
            }
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        asked = x[:, self.feature.reshape(-1)].reshape(-1, *self.feature.shape)
        left = (asked <= self.threshold) | (torch.isnan(asked) & self.missing_left)
        found = torch.matmul(left.to(torch.float32).transpose(0, 1), self.path)  # [T, n, L]
        reached = (found == self.wanted[:, None, :]).to(torch.float32)
        return self.base + (reached * self.value[:, None, :]).sum((0, 2))[:, None]


def _at_most(threshold: float) -> np.float32:
    """The largest float32 that is not above: x ≤ it wherever x ≤ the float64, for every float32 x."""
    near = np.float32(threshold)
    return near if near <= threshold else np.nextafter(near, np.float32(-np.inf))


def _walk(
    nodes: npt.NDArray[np.void],
    splits: Mapping[int, int],
    into: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    """Fill (path, wanted, value) of one tree, leaf after leaf."""
    path, wanted, value = into
    leaf = 0
    ahead: list[tuple[int, tuple[tuple[int, int], ...]]] = [(0, ())]
    while ahead:
        node, above = ahead.pop()
        if nodes["is_leaf"][node]:
            for split, side in above:
                path[split, leaf] = side
            wanted[leaf] = sum(side == 1 for _, side in above)
            value[leaf] = nodes["value"][node]
            leaf += 1
            continue
        for side, child in ((1, "left"), (-1, "right")):
            ahead.append((int(nodes[child][node]), (*above, (splits[node], side))))
