"""A candidate: the champion, updated with rows whose labels came after it, and judged by the gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as parquet

from appliance.parts.base import Context
from models import gate, process
from models.evaluation import Evaluation, evaluate
from models.learning.mix import mix, old_parts
from models.process import Further, Progress, Result
from models.recipe import Recipe
from models.registry import Check
from models.split import TEST

Scores = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.floating]]
"""Features [n, k] → the champion's scores [n]."""


@dataclass(frozen=True)
class Parent:
    """The champion. folder: its frame and weights. updated: it was an update itself."""

    folder: Path
    updated: bool


@dataclass(frozen=True)
class Made:
    """check: whether it is not worse than the champion on the same rows. The files lie in the candidate's folder."""

    result: Result
    evaluation: Evaluation
    check: Check


def make(
    context: Context,
    recipe: Recipe,
    inputs: tuple[str, ...],
    parent: Parent,
    new: pa.Table,
    folder: Path,
    seed: int,
    champion: Scores,
    progress: Progress,
) -> Made:
    """Mix, update, export, judge on the rows held out, beside the champion on the same rows.

    new: as ``models.learning.mix`` describes. Raises TrainingError, GateError where torch and ONNX differ.
    """
    limits = recipe.learning
    old = parquet.read_table(parent.folder / "frame.parquet")
    mixed = mix(old, old_parts(old, parent.updated), new, limits.buffer, seed, limits.new_weight)
    parquet.write_table(mixed, folder / "frame.parquet", compression="zstd")
    progress(f"{new.num_rows} new rows and {mixed.num_rows - new.num_rows} of the champion's")
    further = Further(str(parent.folder / "weights.npz"), limits.learning_rate, limits.epochs)
    result = process.train(context, recipe, inputs, folder, seed, "auto", progress, further)
    gate.check_equal(result.torch_onnx_difference)
    held = np.flatnonzero(mixed["part"].to_numpy() == TEST)
    judged = mixed.take(pa.array(held))
    scores = parquet.read_table(folder / "scores.parquet")["score"].to_numpy()[held]
    x = np.stack([judged[name].to_numpy() for name in inputs], axis=1).astype(np.float32)
    mine, its = (_evaluation(judged, each, recipe.evaluation.top) for each in (scores, champion(x)))
    return Made(result, mine, gate.not_worse(recipe.gate, mine, its))


def _evaluation(rows: pa.Table, scores: npt.NDArray[np.floating], top: int) -> Evaluation:
    time, subject, label = (rows[name].to_numpy().astype(np.int64) for name in ("event_time", "subject", "label"))
    return evaluate(time, subject, label, scores, top, left_out=0)
