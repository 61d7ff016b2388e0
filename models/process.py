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
from models.errors import TrainingError
from models.recipe import Recipe

GOLDEN_ROWS = 32
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
        "seed": seed,
        "device": device,
        "threads": limits.threads,
        "golden_rows": GOLDEN_ROWS,
    }


def _say(line: str, progress: Progress) -> None:
    """A line of the training process, in words; other output is shown as it is."""
    try:
        event = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        progress(line)
        return
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
        case "exported":
            progress(f"exported to ONNX, {event['torch_onnx_difference']:.1e} away from torch")
        case other:
            progress(f"{other} {event}")


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
    told = folder / "spec.json"
    limits = context.settings.training
    told.write_bytes(msgspec.json.encode(_spec(recipe, inputs, folder, seed, device, limits, further)))
    code = Path(__file__).parent.parent
    environment = {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "PYTHONPATH": str(code), "HOME": str(folder / "scratch"),
        "PYTHONDONTWRITEBYTECODE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "OMP_NUM_THREADS": str(limits.threads),
    }  # fmt: skip
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            (context.python("training"), "-m", "models.train", str(told)),
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        try:
            for line in process.stdout:
                _say(line.rstrip("\n"), progress)
        finally:
            process.stdout.close()  # a process that nobody listens to any more ends at its next line
        if process.wait() != 0:
            errors.seek(0)
            raise TrainingError(
                "training.failed",
                f"the training process ended with {process.returncode}: {errors.read()[-2000:].strip()}",
                hint="appliance model train again; --device cpu, if a GPU is at fault",
            )
    told.unlink()
    return msgspec.json.decode((folder / "result.json").read_bytes(), type=Result)
