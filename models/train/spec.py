"""What a training process is told, as one JSON file, and the arrays it finds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

FIT, TAIL, TEST = 0, 1, 2
_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Network:
    """hidden: width of each layer. members: networks whose logits are averaged."""

    hidden: list[int]
    dropout: float
    members: int


@dataclass(frozen=True)
class Fit:
    """patience_epochs: stop when the tail has not become better for so many epochs.

    positive_weight: weight of a positive in the loss; taken out of the score again by calibration.
    """

    learning_rate: float
    weight_decay: float
    batch_rows: int
    max_epochs: int
    patience_epochs: int
    positive_weight: float


@dataclass(frozen=True)
class Update:
    """weights: file (``models.train.weights``) of the version to go on from. epochs: over the rows to fit."""

    weights: Path
    learning_rate: float
    epochs: int


@dataclass(frozen=True)
class Trees:
    """Boosted trees whose logit is averaged with the networks'. count: 0 for none. share: their part of the mean.

    quotients, products: pairs of inputs whose quotient or product the trees are given too: a tree splits one number at
    a time, and would need many splits to see that a payment is five times the customer's mean.
    """

    count: int = 0
    learning_rate: float = 0.05
    leaves: int = 8
    l2: float = 1.0
    share: float = 0.5
    quotients: list[list[str]] = field(default_factory=list)
    products: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Spec:
    """frame: Parquet with the inputs, ``label`` (0, 1) and ``part`` (0 fit, 1 tail, 2 test).

    inputs: columns of the model, in order. log: those whose logarithm is taken. folder: where the results go.
    device: "cpu", "cuda" or "auto". precision: see ``models.train.device.Precision``. baseline: see
    ``models.train.baseline``. update: None for a model from nothing; else the frame has ``weight`` too, how many rows
    each row stands for.
    """

    frame: Path
    folder: Path
    inputs: list[str]
    log: list[str]
    network: Network
    fit: Fit
    seed: int
    device: str
    threads: int
    golden_rows: int
    update: Update | None = None
    precision: str = "auto"
    gpu_memory_share: float = 1.0
    baseline: str = "none"
    trees: Trees = field(default_factory=Trees)


@dataclass(frozen=True)
class Arrays:
    """x: [n, k] float32, NaN where missing. y, weight: [n] float32. part: [n] int8."""

    x: npt.NDArray[np.float32]
    y: npt.NDArray[np.float32]
    part: npt.NDArray[np.int8]
    weight: npt.NDArray[np.float32]


def read(path: Path) -> Spec:
    raw = json.loads(path.read_text())
    raw["network"] = Network(**raw["network"])
    raw["fit"] = Fit(**raw["fit"])
    raw["trees"] = Trees(**raw.get("trees", {}))
    raw["frame"] = Path(raw["frame"])
    raw["folder"] = Path(raw["folder"])
    if further := raw.get("update"):
        raw["update"] = Update(**further | {"weights": Path(further["weights"])})
    return Spec(**raw)


def arrays(spec: Spec) -> Arrays:
    """The frame's columns as arrays, filled from Arrow batches: beside the arrays only one batch is in memory."""
    weighted = ["weight"] if spec.update else []
    with parquet.ParquetFile(spec.frame) as file:
        rows = file.metadata.num_rows
        made = Arrays(
            np.empty((rows, len(spec.inputs)), np.float32), np.empty(rows, np.float32), np.empty(rows, np.int8),
            np.ones(rows, np.float32),
        )  # fmt: skip
        start = 0
        for batch in file.iter_batches(_BATCH_ROWS, columns=[*spec.inputs, "label", "part", *weighted]):
            some = slice(start, start + batch.num_rows)
            for place, name in enumerate(spec.inputs):
                made.x[some, place] = batch[name].to_numpy(zero_copy_only=False)
            made.y[some] = batch["label"].to_numpy(zero_copy_only=False)
            made.part[some] = batch["part"].to_numpy(zero_copy_only=False)
            if weighted:
                made.weight[some] = batch["weight"].to_numpy(zero_copy_only=False)
            start += batch.num_rows
    return made
