"""The model, from raw feature values to a probability; everything it needs is inside it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.train import spec
from models.train.trees import Trees


class Preprocess(nn.Module):
    """Raw values [n, k] → standardised [n, k]: logarithm where asked, mean 0, variance 1, the mean where missing."""

    def __init__(self, x: npt.NDArray[np.float32], log: list[bool]) -> None:
        super().__init__()
        self.register_buffer("log", torch.tensor(log))
        values = self._scaled(torch.from_numpy(x)).double()
        present = ~torch.isnan(values)
        count = present.sum(0).clamp(min=1)
        mean = torch.nan_to_num(values).sum(0) / count
        variance = (torch.nan_to_num(values - mean) ** 2).sum(0) / count
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", torch.where(variance > 0, variance.sqrt(), torch.ones_like(variance)).float())

    def _scaled(self, x: Tensor) -> Tensor:
        """sign(x) log(1 + |x|) of the columns that ask for it: defined for every number, NaN stays NaN."""
        return torch.where(self.log, torch.sign(x) * torch.log1p(torch.abs(x)), x)

    def forward(self, x: Tensor) -> Tensor:
        standard = (self._scaled(x) - self.mean) / self.scale
        return torch.where(torch.isnan(standard), torch.zeros_like(standard), standard)


def feed_forward(width: int, network: spec.Network) -> nn.Sequential:
    """One member: [n, width] standardised → [n, 1] logit."""
    layers: list[nn.Module] = []
    for hidden in network.hidden:
        layers += [nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(network.dropout)]
        width = hidden
    return nn.Sequential(*layers, nn.Linear(width, 1))


class Scorer(nn.Module):
    """What is exported: [n, k] raw values → [n, 1] probability, calibrated: sigmoid(slope * logit + offset).

    The logit is the mean of the members', and with trees the mean of that and theirs, which has the weight ``share``.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        members: list[nn.Module],
        slope: float,
        offset: float,
        trees: Trees | None = None,
        share: float = 0.0,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.members = nn.ModuleList(members)
        self.trees, self.share = trees, share
        self.register_buffer("slope", torch.tensor(slope, dtype=torch.float32))
        self.register_buffer("offset", torch.tensor(offset, dtype=torch.float32))

    def logit(self, features: Tensor) -> Tensor:
        """Before calibration. [n, k] → [n, 1]."""
        x = self.preprocess(features)
        networks = sum(member(x) for member in self.members) / len(self.members)
        if self.trees is None:
            return networks
        return (1 - self.share) * networks + self.share * self.trees(features)

    def forward(self, features: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * self.logit(features) + self.offset)
