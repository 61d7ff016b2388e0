"""An updated version: every member goes on learning where the version before it stopped.

Warm start with replay: the rows are a mix of new and old ones (``models.learning.mix``), so that what is new is learned
and what is old is not forgotten (experience replay; Rolnick et al., *Experience Replay for Continual Learning*, NeurIPS
2019). Standardisation stays that of the first version: the weights mean nothing without it. Calibration is fitted again
on the tail, which no version was fitted on. Boosted trees are not changed but fitted again, on the same mix of rows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from models.train import calibrate, device, fit, spec, weights
from models.train import trees as boost
from models.train.batches import in_batches
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


def update(told: spec.Spec, how: spec.Update, data: spec.Arrays, progress: fit.Progress) -> fit.Fitted:
    """Fit further on the rows to fit, calibrate on the tail. ``progress(event, **values)`` is called after each."""
    where = device.choose(told.device)
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
    trees = None
    if told.trees.count:
        fitted = boost.fit(
            told.trees, told.inputs, data.x[chosen], data.y[chosen], told.seed, data.weight[chosen]
        )  # fmt: skip
        trees = boost.Trees.of(fitted)
    tail = data.part == spec.TAIL
    scorer = Scorer(scorer.preprocess, list(scorer.members), 1.0, 0.0, trees, told.trees.share).eval()
    with torch.no_grad():
        logits = in_batches(lambda rows: scorer.logit(torch.from_numpy(rows))[:, 0].numpy(), data.x[tail])
    logits = logits.astype(np.float64)
    found = calibrate.fit(logits, data.y[tail].astype(np.float64))
    calibrated = Scorer(
        scorer.preprocess, list(scorer.members), found.slope, found.offset, trees, told.trees.share
    ).eval()  # fmt: skip
    scores = 1 / (1 + np.exp(-(found.slope * logits + found.offset)))
    return fit.Fitted(calibrated, [how.epochs] * told.network.members, found, scores, where)
