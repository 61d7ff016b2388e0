"""Boosted trees beside the networks: fitted by scikit-learn, computed by torch, so that one graph is exported.

A network sees smooth relations, trees see steps; the mean of their logits ranks better than either (docs/models.md has
the figures). The trees become matrix products, the GEMM strategy of Nakandala et al., *A Tensor Compiler for Unified
Machine Learning Prediction Serving* (OSDI 2020): every split of a tree is asked at once, and a leaf is reached where as
many of its splits say "left" as lie to the right above it say "right".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from torch import Tensor, nn

from models.train import spec


class Derived(nn.Module):
    """Raw values [n, k] → [n, k + d]: behind them quotients and products of pairs, NaN where one is not a number."""

    def __init__(self, how: spec.Trees, inputs: Sequence[str]) -> None:
        super().__init__()
        for name, pairs in (("quotients", how.quotients), ("products", how.products)):
            places = [[inputs.index(each) for each in pair] for pair in pairs]
            self.register_buffer(name, torch.tensor(places, dtype=torch.int64).reshape(-1, 2))

    def forward(self, x: Tensor) -> Tensor:
        if not len(self.quotients) and not len(self.products):
            return x
        quotients = x[:, self.quotients[:, 0]] / x[:, self.quotients[:, 1]]
        products = x[:, self.products[:, 0]] * x[:, self.products[:, 1]]
        derived = torch.cat([quotients, products], 1)
        unknown = torch.isnan(derived) | torch.isinf(derived)
        return torch.cat([x, torch.where(unknown, torch.full_like(derived, torch.nan), derived)], 1)


@dataclass(frozen=True)
class Boosted:
    """Trees as scikit-learn has fitted them, and what they are given."""

    model: HistGradientBoostingClassifier
    derived: Derived

    def logits(self, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Raw values [n, k] → [n]."""
        return np.asarray(self.model.decision_function(_with(self.derived, x)))


def _with(derived: Derived, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        return derived(torch.from_numpy(x)).numpy()


def fit(
    how: spec.Trees,
    inputs: Sequence[str],
    x: npt.NDArray[np.float32],
    y: npt.NDArray[np.float32],
    seed: int,
    weight: npt.NDArray[np.float32] | None = None,
) -> Boosted:
    """x: raw values [n, k], NaN where missing. y: [n]. weight: how many rows each row stands for, [n]."""
    derived = Derived(how, inputs)
    model = HistGradientBoostingClassifier(
        learning_rate=how.learning_rate, max_iter=how.count, max_leaf_nodes=how.leaves, l2_regularization=how.l2,
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    return Boosted(model.fit(_with(derived, x), y, weight), derived)


class Trees(nn.Module):
    """T trees of at most L leaves: raw values [n, k] → logit [n, 1]. derived: what they see.

    feature, threshold, missing_left: [T, L - 1], of each split: x ≤ threshold goes left, a missing value where
    ``missing_left`` says. path: [T, L - 1, L], 1 where the leaf is left of the split, -1 right, 0 elsewhere. wanted:
    [T, L], the number of splits that the leaf is left of; -1 for a leaf that is not there. value: [T, L].
    """

    def __init__(self, derived: Derived, arrays: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.derived = derived
        for name, values in arrays.items():
            self.register_buffer(name, values)

    @classmethod
    def of(cls, boosted: Boosted) -> Trees:
        """The same trees. Reads what scikit-learn keeps of a fitted model; the lock pins its version."""
        model = boosted.model
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
            boosted.derived,
            {
                "feature": torch.from_numpy(feature), "threshold": torch.from_numpy(threshold),
                "missing_left": torch.from_numpy(missing), "path": torch.from_numpy(path),
                "wanted": torch.from_numpy(wanted), "value": torch.from_numpy(value),
                "base": torch.tensor(float(model._baseline_prediction[0, 0]), dtype=torch.float32),
            },
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        asked = self.derived(x)[:, self.feature.reshape(-1)].reshape(-1, *self.feature.shape)
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
