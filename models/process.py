"""The training process: what it is told and what it gives back."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.parts.base import Context
from appliance.settings import Training
from models.calibration import Calibration
from models.errors import GateError, TrainingError
from models.recipe import Recipe
from models.registry import Curve

GOLDEN_ROWS = 32
_REFUSED = 3
"""Exit status of ``models.train.adopt`` for a file that does not fit."""
Progress = Callable[[str], None]


class GoldenRows(msgspec.Struct, frozen=True):
    """rows: [n][k], None where missing. scores: [n], by torch."""

    rows: tuple[tuple[float | None, ...], ...]
    scores: tuple[float, ...]


class Result(msgspec.Struct, frozen=True):
    """``result.json`` of ``models.train``."""

    torch_onnx_difference: float
    epochs: tuple[int, ...]
    calibration: Calibration
    tail_scores: list[float]
    golden: GoldenRows
    missing_share: dict[str, float]
    train_seconds: float
    device: str
    versions: dict[str, str]
    phases: dict[str, float] = {}
    curves: tuple[Curve, ...] = ()


class Further(msgspec.Struct, frozen=True):
    """An update instead of a training from nothing. weights: file of the version to go on from."""

    weights: str
    learning_rate: float
    epochs: int


def _spec(
    recipe: Recipe,
    inputs: tuple[str, ...],
    folder: Path,
    seed: int,
    device: str,
    limits: Training,
    further: Further | None,
) -> dict[str, Any]:
    return {
        "update": msgspec.to_builtins(further),
        "frame": str(folder / "frame.parquet"),
        "folder": str(folder),
        "inputs": list(inputs),
        "log": list(recipe.inputs.log),
        "network": msgspec.to_builtins(recipe.network),
        "fit": msgspec.to_builtins(recipe.fit),
        "trees": msgspec.to_builtins(recipe.trees),
        "baseline": "none" if further else recipe.baseline.kind,
        "seed": seed,
        "device": device,
        "threads": limits.threads,
        "gpu_memory_share": limits.gpu_memory_share,
        "golden_rows": GOLDEN_ROWS,
    }


def _event(line: str) -> dict[str, Any]:
    """A line of the training process; one that is no event becomes one of its own."""
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return {"event": line}


def _say(line: str, progress: Progress) -> None:
    """A line of the training process, in words; other output is shown as it is."""
    event = _event(line)
    match event.pop("event", ""):
        case "read":
            progress(f"training process has read {event['rows']} rows of {event['inputs']} inputs")
        case "member":
            progress(
                f"network {event['number']} of {event['of']}: {event['epochs']} epochs, "
                f"average precision on the tail {event['tail_average_precision']:.3f}"
            )
        case "updated":
            progress(f"network {event['number']} of {event['of']}: {event['epochs']} epochs further")
        case "trees":
            progress(f"{event['count']} boosted trees in {event['seconds']:.0f} s")
        case "baseline":
            progress(f"baseline {event['kind']} in {event['seconds']:.0f} s")
        case "adopted":
            progress(f"in the shape that is served, {event['difference']:.1e} away from the file as it came")
        case "exported":
            progress(f"exported to ONNX, {event['torch_onnx_difference']:.1e} away from torch")
        case other:
            progress(f"{other} {event}" if event else other)


def train(
    context: Context,
    recipe: Recipe,
    inputs: tuple[str, ...],
    folder: Path,
    seed: int,
    device: str,
    progress: Progress,
    further: Further | None = None,
) -> Result:
    """Train, or update, on ``folder/frame.parquet`` in the training environment; the results are in ``folder``.

    Raises TrainingError with the last lines of what the process said.
    """
    told = _tell(context, recipe, inputs, folder, seed, device, further)
    _run(context, folder, ("models.train", str(told)), lambda line: _say(line, progress))
    told.unlink()
    return msgspec.json.decode((folder / "result.json").read_bytes(), type=Result)


def adopt(
    context: Context, recipe: Recipe, inputs: tuple[str, ...], folder: Path, file: Path, progress: Progress
) -> Result:
    """Take a model made elsewhere instead of training one. Raises GateError that says why the file does not fit."""
    told = _tell(context, recipe, inputs, folder, 0, "cpu", None)
    why = ""

    def line_said(line: str) -> None:
        nonlocal why
        event = _event(line)
        if event.get("event") == "refused":
            why = str(event["why"])
        else:
            _say(line, progress)

    if _run(context, folder, ("models.train.adopt", str(told), str(file)), line_said, allowed=(_REFUSED,)):
        raise GateError("import.refused", why, hint="docs/models.md, A model of one's own")
    told.unlink()
    return msgspec.json.decode((folder / "result.json").read_bytes(), type=Result)


def keep_run(context: Context, run: dict[str, Any], folder: Path) -> None:
    """Write a run down in the store of runs (``models.train.runs``). Raises TrainingError."""
    told = folder / "run.json"
    told.write_bytes(msgspec.json.encode(run))
    _run(context, folder, ("models.train.runs", str(told)), lambda _: None)
    told.unlink()


def _tell(
    context: Context,
    recipe: Recipe,
    inputs: tuple[str, ...],
    folder: Path,
    seed: int,
    device: str,
    further: Further | None,
) -> Path:
    told = folder / "spec.json"
    spec = _spec(recipe, inputs, folder, seed, device, context.settings.training, further)
    told.write_bytes(msgspec.json.encode(spec))
    return told


def _run(
    context: Context, folder: Path, words: tuple[str, ...], said: Callable[[str], None], allowed: tuple[int, ...] = ()
) -> int:
    """``python -m`` in the training environment; its exit status. Raises TrainingError for one that is not allowed."""
    threads = str(context.settings.training.threads)
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHONPATH": str(Path(__file__).parent.parent),
        "HOME": str(folder / "scratch"), "PYTHONDONTWRITEBYTECODE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads,
    }  # fmt: skip
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            (context.python("training"), "-m", *words),
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said(line.rstrip("\n"))
        finally:
            process.stdout.close()  # a process that nobody listens to any more ends at its next line
        status = process.wait()
        if status not in (0, *allowed):
            errors.seek(0)
            raise TrainingError(
                "training.failed",
                f"the training process ended with {status}: {errors.read()[-2000:].strip()}",
                hint="appliance model train again; --device cpu, if a GPU is at fault",
            )
        return status
