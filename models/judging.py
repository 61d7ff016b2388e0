"""Judging a version from the files in its folder: the later period, thresholds, Triton on trial, the gate."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

from appliance.clients.triton import TritonClient
from appliance.golden import Golden
from appliance.parts.base import Context
from models import evaluation, frame, gate, thresholds
from models.evaluation import Evaluation
from models.gate import Trial
from models.recipe import Recipe
from models.registry import Beside, Check, Registry, Thresholds
from models.serving import Serving
from models.split import TAIL, TEST
from stream_jobs.plan import Service

_HELD_OUT_ROWS = 4_096
_ROUNDS = 5
_TIMED_CALLS = 100
_WARM_CALLS = 20


@dataclass(frozen=True)
class Later:
    """The judged rows of a frame: x [n, k] float32, the others [n]. baseline: None where none was trained."""

    x: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]
    baseline: npt.NDArray[np.float64] | None
    left_out: int

    @classmethod
    def read(cls, folder: Path, inputs: tuple[str, ...], left_out: int) -> Later:
        table = parquet.read_table(folder / frame.FILE, filters=[("part", "=", TEST)])
        part = parquet.read_table(folder / frame.FILE, columns=["part"])["part"].to_numpy()
        scores = parquet.read_table(folder / "scores.parquet")
        test = part == TEST
        baseline = scores["baseline"].to_numpy()[test] if "baseline" in scores.column_names else None
        return cls(
            np.stack([table[name].to_numpy() for name in inputs], axis=1),
            table["event_time"].to_numpy(), table["subject"].to_numpy(), table["label"].to_numpy().astype(np.int64),
            scores["score"].to_numpy()[test], baseline, left_out,
        )  # fmt: skip

    def judged(self, scores: npt.NDArray[np.floating], how: Recipe) -> Evaluation:
        return evaluation.evaluate(
            self.times, self.subject, self.labels, scores, how.evaluation.top, self.left_out
        )  # fmt: skip

    def beside(self, how: Recipe) -> Beside | None:
        """The baseline on the same rows."""
        return None if self.baseline is None else Beside(how.baseline.kind, self.judged(self.baseline, how))


def on_trial(context: Context, golden: Golden, folder: Path, later: Later) -> Trial:
    """Load the version into Triton under another name and measure it there. Raises DeploymentError."""
    with (
        Serving.of(context).lent(golden, folder / "model.onnx", "candidate") as lent,
        TritonClient.of(context) as triton,
    ):
        some = np.unique(np.linspace(0, len(later.x) - 1, _HELD_OUT_ROWS).astype(int))
        scores, _ = triton.infer(lent.name, later.x[some])
        apart = float(np.abs(scores.astype(np.float64) - later.scores[some]).max())
        return Trial(lent.difference, apart, len(some), _latency_p99_ms(triton, lent.name, later.x))


def _latency_p99_ms(triton: TritonClient, name: str, x: npt.NDArray[np.float32]) -> float:
    """Of calls with one row, one after the other, after some that are not counted: the lowest p99 of several rounds.

    A job has the lowest priority: what it measures while others want the processor is its own waiting, not the model's.
    """
    found = []
    for _ in range(_ROUNDS):
        taken = []
        for call in range(_WARM_CALLS + _TIMED_CALLS):
            row = x[call % len(x)][None, :]
            started = time.perf_counter()
            triton.infer(name, row)
            taken.append((time.perf_counter() - started) * 1000)
        found.append(float(np.percentile(taken[_WARM_CALLS:], 99)))
    return min(found)


def checks(
    context: Context, how: Recipe, model: str, inputs: tuple[str, ...], judged: Evaluation, trial: Trial, later: Later
) -> tuple[Check, ...]:
    """The gate's questions and answers; the champion, asked in Triton, is judged on the very same rows.

    A champion with other inputs cannot be asked; its own recorded evaluation is taken then.
    """
    registry = Registry.of(context)
    champion = registry.champion(model)
    other = None
    if champion is not None:
        record = registry.get(model, champion.version)
        other = record.evaluation
        if record.inputs == inputs:
            with TritonClient.of(context) as triton:
                scores, _ = triton.infer(model, later.x)
            other = later.judged(scores, how)
    return gate.checks(how.gate, judged, trial, other)


def suggested(folder: Path, how: Recipe, service: Service, tail_scores: npt.NDArray[np.float64]) -> Thresholds:
    """Thresholds from the tail: by capacity and precision, and by cost where the recipe names one."""
    hints, days = how.policy, how.periods.tail_days
    table = parquet.read_table(folder / frame.FILE, filters=[("part", "=", TAIL)])
    labels = table["label"].to_numpy().astype(np.int64)
    found = thresholds.suggest(
        tail_scores, labels, days, service.policy.daily_review_capacity, hints.decline_precision
    )  # fmt: skip
    if hints.review_cost is None:
        return found
    lost = np.nan_to_num(table[hints.amount].to_numpy().astype(np.float64)) * hints.missed_share
    cost = thresholds.by_cost(tail_scores, labels, lost, days, hints.review_cost, service.policy.review)
    return Thresholds(found.review, found.decline, found.tail_rows_per_day, cost)
