"""Fitting the members: early stopping on the tail of the past, then once more on all of it for as many epochs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.metrics import average_precision
from models.train import calibrate, device, spec
from models.train import trees as boost
from models.train.device import Precision
from models.train.network import Preprocess, Scorer, feed_forward
from models.train.phases import Phases

Progress = Callable[..., None]


@dataclass(frozen=True)
class Curve:
    """A member while its number of epochs was looked for: a value an epoch. Losses are means over the rows."""

    fit_loss: list[float] = field(default_factory=list)
    tail_loss: list[float] = field(default_factory=list)
    tail_average_precision: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Fitted:
    """scorer: ready to export, on the CPU. epochs: of each member. tail_scores: calibrated, of the tail's rows."""

    scorer: Scorer
    epochs: list[int]
    calibration: calibrate.Calibration
    tail_scores: npt.NDArray[np.float64]
    device: str
    curves: list[Curve] = field(default_factory=list)


class _Member:
    """A member under training: all its randomness comes from ``seed``, on the CPU also when it trains on a GPU."""

    def __init__(self, width: int, told: spec.Spec, seed: int, precision: Precision) -> None:
        torch.manual_seed(seed)
        self.net = feed_forward(width, told.network).to(precision.where)
        self._how, self._precision, self._scaler = told.fit, precision, precision.scaler()
        self._generator = torch.Generator().manual_seed(seed)
        self._positive = torch.tensor(told.fit.positive_weight, device=precision.where)
        self._optimiser = torch.optim.AdamW(
            self.net.parameters(), told.fit.learning_rate, weight_decay=told.fit.weight_decay
        )

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(logits, y, pos_weight=self._positive)

    def epoch(self, x: Tensor, y: Tensor) -> float:
        """Once over the rows, in a new order; the mean loss."""
        order = torch.randperm(len(x), generator=self._generator).to(x.device)
        summed = torch.zeros((), device=x.device)
        self.net.train()
        for start in range(0, len(order), self._how.batch_rows):
            rows = order[start : start + self._how.batch_rows]
            self._optimiser.zero_grad()
            with self._precision.cast():
                logits = self.net(x[rows])[:, 0]
            loss = self.loss(logits.float(), y[rows])
            self._scaler.scale(loss).backward()
            self._scaler.step(self._optimiser)
            self._scaler.update()
            summed += loss.detach() * len(rows)
        return float(summed) / len(order)

    def logits(self, x: Tensor) -> Tensor:
        """[n], in float32 whatever it was trained in, as it will be served."""
        self.net.eval()
        with torch.no_grad():
            return self.net(x)[:, 0]


def _best_epochs(
    member: _Member, fit: tuple[Tensor, Tensor], tail: tuple[Tensor, Tensor], how: spec.Fit, phases: Phases
) -> tuple[int, Curve, npt.NDArray[np.float64]]:
    """Epochs after which the tail's average precision is best, all epochs' values, and the tail's logits then."""
    best_epochs, best, best_logits = 0, -1.0, np.zeros(0)
    curve = Curve()
    labels = tail[1].cpu().numpy().astype(np.int64)
    for epoch in range(1, how.max_epochs + 1):
        with phases.of("train"):
            curve.fit_loss.append(member.epoch(*fit))
        with phases.of("judge"):
            found = member.logits(tail[0])
            curve.tail_loss.append(float(member.loss(found, tail[1])))
            logits = found.double().cpu().numpy()
            measure = average_precision(labels, logits)
            curve.tail_average_precision.append(measure)
        if measure > best:
            best_epochs, best, best_logits = epoch, measure, logits
        elif epoch - best_epochs >= how.patience_epochs:
            break
    return best_epochs, curve, best_logits


def fit(told: spec.Spec, data: spec.Arrays, progress: Progress, phases: Phases | None = None) -> Fitted:
    """Train all members. ``progress(event, **values)`` is called after each."""
    where = device.choose(told.device)
    device.limit_memory(where, told.gpu_memory_share)
    precision, phases = Precision.of(where, told.precision), phases or Phases(where)
    past = data.part != spec.TEST
    with phases.of("prepare"):
        preprocess = Preprocess(data.x[past], [name in told.log for name in told.inputs])
    with phases.of("transfer"):
        raw, y = device.send(data.x[past], where), device.send(data.y[past], where)
    with phases.of("prepare"), torch.no_grad():
        x = preprocess.to(where)(raw)
        del raw
    preprocess.cpu()
    is_tail = data.part[past] == spec.TAIL
    rows = {part: torch.from_numpy(np.flatnonzero(is_tail == part)).to(where) for part in (False, True)}
    fit_rows, tail_rows = ((x[rows[part]], y[rows[part]]) for part in (False, True))
    members: list[nn.Module] = []
    epochs: list[int] = []
    curves: list[Curve] = []
    tail_logits = np.zeros(int(is_tail.sum()))
    for number in range(told.network.members):
        seed = told.seed * 1000 + number
        found, curve, logits = _best_epochs(
            _Member(x.shape[1], told, seed, precision), fit_rows, tail_rows, told.fit, phases
        )
        again = _Member(x.shape[1], told, seed, precision)
        with phases.of("train"):
            for _ in range(found):
                again.epoch(x, y)
        members.append(again.net.cpu().eval())
        epochs.append(found)
        curves.append(curve)
        tail_logits += logits / told.network.members
        best = curve.tail_average_precision[found - 1]
        progress("member", number=number + 1, of=told.network.members, epochs=found, tail_average_precision=best)
    trees = None
    if told.trees.count:
        with phases.of("trees"):
            before, share = data.part == spec.FIT, told.trees.share
            early = boost.fit(told.trees, told.inputs, data.x[before], data.y[before], told.seed)
            of_tail = early.logits(data.x[data.part == spec.TAIL])
            tail_logits = (1 - share) * tail_logits + share * of_tail
            trees = boost.Trees.of(boost.fit(told.trees, told.inputs, data.x[past], data.y[past], told.seed))
        progress("trees", count=told.trees.count, seconds=phases.seconds["trees"])
    calibration = calibrate.fit(tail_logits, data.y[data.part == spec.TAIL].astype(np.float64))
    scorer = Scorer(preprocess, members, calibration.slope, calibration.offset, trees, told.trees.share).eval()
    scores = 1 / (1 + np.exp(-(calibration.slope * tail_logits + calibration.offset)))
    return Fitted(scorer, epochs, calibration, scores, where, curves)
