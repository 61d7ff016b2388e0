"""Fitting the members: early stopping on the tail of the past, then once more on all of it for as many epochs."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.metrics import average_precision
from models.train import calibrate, spec
from models.train.network import Preprocess, Scorer, feed_forward

Progress = Callable[..., None]


@dataclass(frozen=True)
class Fitted:
    """scorer: ready to export, on the CPU. epochs: of each member. tail_scores: calibrated, of the tail's rows."""

    scorer: Scorer
    epochs: list[int]
    calibration: calibrate.Calibration
    tail_scores: npt.NDArray[np.float64]
    device: str


def device(asked: str) -> str:
    """ "auto": the GPU where there is one, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked


def deterministic(threads: int) -> None:
    """The same seed gives the same model on the same kind of machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def _epoch(
    member: nn.Module, x: Tensor, y: Tensor, how: spec.Fit, optimiser: torch.optim.Optimizer, order: Tensor
) -> None:
    weight = torch.tensor(how.positive_weight, device=x.device)
    member.train()
    for start in range(0, len(order), how.batch_rows):
        rows = order[start : start + how.batch_rows]
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(member(x[rows])[:, 0], y[rows], pos_weight=weight)
        loss.backward()
        optimiser.step()


def _logits(member: nn.Module, x: Tensor) -> npt.NDArray[np.float64]:
    member.eval()
    with torch.no_grad():
        return member(x)[:, 0].double().cpu().numpy()


class _Member:
    """A member under training: all its randomness comes from ``seed``, on the CPU also when it trains on a GPU."""

    def __init__(self, width: int, told: spec.Spec, seed: int, where: str) -> None:
        torch.manual_seed(seed)
        self.net = feed_forward(width, told.network).to(where)
        self._how = told.fit
        self._generator = torch.Generator().manual_seed(seed)
        self._optimiser = torch.optim.AdamW(
            self.net.parameters(), told.fit.learning_rate, weight_decay=told.fit.weight_decay
        )

    def epoch(self, x: Tensor, y: Tensor) -> None:
        order = torch.randperm(len(x), generator=self._generator).to(x.device)
        _epoch(self.net, x, y, self._how, self._optimiser, order)


def _best_epochs(
    member: _Member, fit: tuple[Tensor, Tensor], tail: tuple[Tensor, npt.NDArray[np.int64]], how: spec.Fit
) -> tuple[int, float, npt.NDArray[np.float64]]:
    """Epochs after which the tail's average precision is best, its value, and the tail's logits then."""
    best_epochs, best, best_logits = 0, -1.0, np.zeros(0)
    for epoch in range(1, how.max_epochs + 1):
        member.epoch(*fit)
        logits = _logits(member.net, tail[0])
        measure = average_precision(tail[1], logits)
        if measure > best:
            best_epochs, best, best_logits = epoch, measure, logits
        elif epoch - best_epochs >= how.patience_epochs:
            break
    return best_epochs, best, best_logits


def fit(told: spec.Spec, data: spec.Arrays, progress: Progress) -> Fitted:
    """Train all members. ``progress(event, **values)`` is called after each."""
    where = device(told.device)
    past = data.part != spec.TEST
    log = [name in told.log for name in told.inputs]
    preprocess = Preprocess(data.x[past], log)
    with torch.no_grad():
        x = preprocess(torch.from_numpy(data.x)).to(where)
    y = torch.from_numpy(data.y).to(where)
    rows = {part: torch.from_numpy(np.flatnonzero(data.part == part)).to(where) for part in (spec.FIT, spec.TAIL)}
    everything = torch.from_numpy(np.flatnonzero(past)).to(where)
    tail_labels = data.y[data.part == spec.TAIL].astype(np.int64)
    members: list[nn.Module] = []
    epochs: list[int] = []
    tail_logits = np.zeros(len(tail_labels))
    for number in range(told.network.members):
        seed = told.seed * 1000 + number
        found, measure, logits = _best_epochs(
            _Member(x.shape[1], told, seed, where),
            (x[rows[spec.FIT]], y[rows[spec.FIT]]), (x[rows[spec.TAIL]], tail_labels), told.fit,
        )  # fmt: skip
        again = _Member(x.shape[1], told, seed, where)
        for _ in range(found):
            again.epoch(x[everything], y[everything])
        members.append(again.net.cpu().eval())
        epochs.append(found)
        tail_logits += logits / told.network.members
        progress("member", number=number + 1, of=told.network.members, epochs=found, tail_average_precision=measure)
    calibration = calibrate.fit(tail_logits, tail_labels.astype(np.float64))
    scorer = Scorer(preprocess, members, calibration.slope, calibration.offset).eval()
    scores = 1 / (1 + np.exp(-(calibration.slope * tail_logits + calibration.offset)))
    return Fitted(scorer, epochs, calibration, scores, where)
