"""What every way of making a model ends with: the baseline, scores, plots, golden rows and ``result.json``."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as parquet
import sklearn
import torch

from models.train import baseline, calibrate, plots, spec
from models.train.fit import Curve
from models.train.phases import Phases

_TRAINING = ("prepare", "transfer", "train", "judge", "trees")


@dataclass(frozen=True)
class Made:
    """A model and what it says. reference: its scores before it became ``model.onnx``; scores: by onnxruntime; [n]."""

    reference: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    tail_scores: npt.NDArray[np.float64]
    calibration: calibrate.Calibration
    device: str
    epochs: list[int] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    @property
    def difference(self) -> float:
        return float(np.abs(self.scores.astype(np.float64) - self.reference).max())


def say(event: str, **values: object) -> None:
    """A line of progress: JSON on standard output."""
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


def finish(told: spec.Spec, data: spec.Arrays, made: Made, phases: Phases) -> None:
    """Write all of it into the spec's folder."""
    scores: dict[str, npt.NDArray[np.floating]] = {"score": made.scores}
    if told.baseline != baseline.NONE:
        with phases.of("baseline"):
            scores["baseline"] = baseline.scores(told.baseline, data, told.seed)
        say("baseline", kind=told.baseline, seconds=phases.seconds["baseline"])
    parquet.write_table(pa.table(scores), told.folder / "scores.parquet")
    test = data.part == spec.TEST
    if test.any():
        names = {"score": "this version", "baseline": told.baseline.replace("_", " ")}
        shown = {names[name]: values[test] for name, values in scores.items()}
        with phases.of("plot"):
            plots.write(told.folder, made.curves, data.y[test].astype(np.int64), shown)
    golden = _golden(data, told.golden_rows)
    result = {
        "torch_onnx_difference": made.difference,
        "epochs": made.epochs,
        "calibration": {"slope": made.calibration.slope, "offset": made.calibration.offset},
        "tail_scores": made.tail_scores.tolist(),
        "golden": {
            "rows": [[_number(value) for value in row] for row in data.x[golden]],
            "scores": made.reference[golden].astype(float).tolist(),
        },
        "missing_share": dict(zip(told.inputs, np.isnan(data.x).mean(0).astype(float).tolist(), strict=True)),
        "train_seconds": sum(phases.seconds.get(name, 0.0) for name in _TRAINING),
        "phases": phases.seconds,
        "curves": [dataclasses.asdict(curve) for curve in made.curves],
        "device": made.device,
        "versions": {each.__name__: str(each.__version__) for each in (torch, onnxruntime, np, sklearn)},
    }
    (told.folder / "result.json").write_text(json.dumps(result))


def _golden(data: spec.Arrays, rows: int) -> npt.NDArray[np.int64]:
    """Rows of the past, the same number of frauds as of others where there are enough, evenly spread in time."""
    past = data.part != spec.TEST
    chosen = []
    for label in (0, 1):
        of_label = np.flatnonzero(past & (data.y == label))
        chosen.append(of_label[np.linspace(0, len(of_label) - 1, min(rows // 2, len(of_label))).astype(int)])
    return np.concatenate(chosen)


def _number(value: np.float32) -> float | None:
    return None if np.isnan(value) else float(value)
