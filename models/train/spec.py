"""What a training process is told, as one JSON file, and the arrays it finds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

FIT, TAIL, TEST = 0, 1, 2


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
class Spec:
    """frame: Parquet with the inputs, ``label`` (0, 1) and ``part`` (0 fit, 1 tail, 2 test).

    inputs: columns of the model, in order. log: those whose logarithm is taken. folder: where the results go.
    device: "cpu", "cuda" or "auto". update: None for a model from nothing; else the frame has ``weight`` too, how many
    rows each row stands for.
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
    raw["frame"] = Path(raw["frame"])
    raw["folder"] = Path(raw["folder"])
    if further := raw.get("update"):
        raw["update"] = Update(**further | {"weights": Path(further["weights"])})
    return Spec(**raw)


def arrays(spec: Spec) -> Arrays:
    """The frame's columns as arrays."""
    weighted = ["weight"] if spec.update else []
    table = parquet.read_table(spec.frame, columns=[*spec.inputs, "label", "part", *weighted])
    columns = [table[name].to_numpy().astype(np.float32) for name in spec.inputs]
    return Arrays(
        np.stack(columns, axis=1),
        table["label"].to_numpy().astype(np.float32),
        table["part"].to_numpy().astype(np.int8),
        table["weight"].to_numpy().astype(np.float32) if spec.update else np.ones(table.num_rows, np.float32),
    )
