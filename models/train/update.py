"""An updated version: every member goes on learning where the version before it stopped.

Warm start with replay: the rows are a mix of new and old ones (``models.learning.mix``), so that what is new is learned
and what is old is not forgotten (experience replay; Rolnick et al., *Experience Replay for Continual Learning*, NeurIPS
2019). Standardisation stays that of the first version: the weights mean nothing without it. Calibration is fitted again
on the tail, which no version was fitted on.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.train import calibrate, fit, spec, weights
from models.train.network import Scorer


def _go_on(
    net: nn.Sequential, rows: tuple[Tensor, Tensor, Tensor], told: spec.Spec, how: spec.Update, seed: int
) -> None:
    """Fit a member further, in place. rows: standardised x [n, k], labels [n], weights [n]."""
    x, y, weight = rows
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(net.parameters(), how.learning_rate, weight_decay=told.fit.weight_decay)
    positive = torch.tensor(told.fit.positive_weight, device=x.device)
    net.train()
    for _ in range(how.epochs):
        order = torch.randperm(len(x), generator=generator).to(x.device)
        for start in range(0, len(order), told.fit.batch_rows):
            some = order[start : start + told.fit.batch_rows]
            optimiser.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(
                net(x[some])[:, 0], y[some], weight[some], reduction="sum", pos_weight=positive
            )
            (loss / weight[some].sum()).backward()
            optimiser.step()
    net.eval()


def _logits(scorer: Scorer, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """Mean logit of the members, before calibration. [n, k] → [n]."""
    with torch.no_grad():
        standard = scorer.preprocess(torch.from_numpy(x))
        found = sum(net(standard) for net in scorer.members) / len(scorer.members)
    return found[:, 0].double().numpy()


def update(told: spec.Spec, how: spec.Update, data: spec.Arrays, progress: fit.Progress) -> fit.Fitted:
    """Fit further on the rows to fit, calibrate on the tail. ``progress(event, **values)`` is called after each."""
    where = fit.device(told.device)
    scorer = weights.read(how.weights, len(told.inputs), told.network)
    chosen = np.flatnonzero(data.part == spec.FIT)
    with torch.no_grad():
        x = scorer.preprocess(torch.from_numpy(data.x[chosen])).to(where)
    rows = (x, torch.from_numpy(data.y[chosen]).to(where), torch.from_numpy(data.weight[chosen]).to(where))
    for number, net in enumerate(scorer.members):
        net.to(where)
        _go_on(net, rows, told, how, told.seed * 1000 + number)
        net.cpu()
        progress("updated", number=number + 1, of=told.network.members, epochs=how.epochs)
    tail = data.part == spec.TAIL
    logits = _logits(scorer, data.x[tail])
    found = calibrate.fit(logits, data.y[tail].astype(np.float64))
    calibrated = Scorer(scorer.preprocess, list(scorer.members), found.slope, found.offset).eval()
    scores = 1 / (1 + np.exp(-(found.slope * logits + found.offset)))
    return fit.Fitted(calibrated, [how.epochs] * told.network.members, found, scores, where)
