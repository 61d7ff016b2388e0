"""How well the model ranks, on payments that nobody here made up, with the book's protocol.

    python -m tests.bench.bench_quality --data FOLDER [--out FOLDER] [--seeds 5] [--train-from 2018-07-25]

FOLDER has card_transactions.parquet (Fraud-Detection-Handbook, simulated-data-raw). No appliance is needed: the
payments become change tables of a lake (``payments_lake``, as published: nothing late, nothing changed), events and
labels are read from those, features come from Feast's historical features over them, each payment at its own position,
and the training process is the appliance's own, with the scenario's recipe. ``--home`` keeps lake and features.

The book trains on 07-25 … 07-31, leaves a week out and judges 08-08 … 08-14. Nothing of that week, nor anything of the
training week, was looked at when the recipe was chosen (docs/models.md). Also: logistic regression and gradient
boosting of scikit-learn on the same rows. ``--python`` is that of the training environment.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as parquet

from models import evaluation, frame
from models.evaluation import Evaluation
from models.inputs import of as inputs_of
from models.recipe import Recipe
from models.split import DAY_US, TEST
from tests.bench import machine
from tests.bench.fraud_frames import Frames, midnight

BARS = {"auc_roc": 0.88, "average_precision": 0.67, "top_precision": 0.295}
BOOK = {
    "logistic regression": (0.871, 0.606, 0.291),
    "random forest": (0.867, 0.658, 0.287),
    "XGBoost": (0.862, 0.639, 0.273),
    "feed-forward network": (0.864, 0.653, 0.286),
    "feed-forward network, tuned, several periods": (0.876, 0.675, 0.303),
}
"""The published figures: AUC ROC, average precision, card precision@100."""
_BASELINES = ("logistic_regression", "gradient_boosting")


def train(python: Path, folder: Path, recipe: Recipe, inputs: tuple[str, ...], seed: int, baseline: str) -> float:
    """One model in ``folder``, which has its frame; seconds."""
    told = {
        "frame": str(folder / frame.FILE), "folder": str(folder), "inputs": list(inputs),
        "log": list(recipe.inputs.log),
        "network": msgspec.to_builtins(recipe.network), "fit": msgspec.to_builtins(recipe.fit),
        "trees": msgspec.to_builtins(recipe.trees), "baseline": baseline, "seed": seed, "device": "auto", "threads": 1,
        "golden_rows": 32,
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(told))
    began = time.monotonic()
    done = subprocess.run(
        [python, "-m", "models.train", "spec.json"], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def judge(folder: Path, column: str, top: int, left_out: int) -> Evaluation:
    """A column of the scores, on the later period."""
    table = parquet.read_table(folder / frame.FILE)
    test = table["part"].to_numpy() == TEST
    scores = parquet.read_table(folder / "scores.parquet")[column].to_numpy()[test]
    times, subject, labels = (table[name].to_numpy()[test] for name in ("event_time", "subject", "label"))
    return evaluation.evaluate(times, subject, labels.astype(np.int64), scores, top, left_out)


def figures(judged: Evaluation) -> dict[str, float]:
    return {name: float(getattr(judged, name)) for name in (*BARS, "brier")}


def spread(found: list[dict[str, float]]) -> dict[str, tuple[float, float]]:
    """Measure → (mean, standard deviation of the sample)."""
    return {
        name: (float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0)
        for name in found[0]
        if (values := [each[name] for each in found])
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of card_transactions.parquet")
    parser.add_argument("--python", type=Path, default=Path("/var/cache/appliance/envs/training/bin/python"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-from", default="2018-07-25", help="first day of training (the book's)")
    parser.add_argument("--home", type=Path, help="folder of the lake, kept (default: a temporary one)")
    parser.add_argument("--out", type=Path, help="folder of quality.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="quality-"))
    home = arguments.home or Path(tempfile.mkdtemp(prefix="quality-lake-"))
    home.mkdir(parents=True, exist_ok=True)
    try:
        result = measure(arguments, home.absolute())
    finally:
        if arguments.home is None:
            shutil.rmtree(home)
    text = markdown(arguments, result)
    machine.write(out, "quality", result, text)
    sys.stdout.write(f"{text}\n{out}/quality.json, quality.md\n")
    return 0 if all(result["ours"][name][0] >= bar for name, bar in BARS.items()) else 1


def measure(arguments: argparse.Namespace, home: Path) -> dict[str, Any]:
    last = np.datetime64(midnight(arguments.train_from) + 21 * DAY_US - 1, "us").astype("datetime64[D]")
    data = arguments.data / "card_transactions.parquet"
    frames = Frames(home, data, arguments.train_from, str(last))
    recipe, inputs = frames.recipe, inputs_of(frames.service)
    folder = home / "training"
    _, described = frames.build(arguments.train_from, folder)
    found: list[dict[str, float]] = []
    beside: dict[str, list[dict[str, float]]] = {name: [] for name in _BASELINES}
    taken = []
    for seed in range(1, arguments.seeds + 1):
        baseline = _BASELINES[seed % 2]
        taken.append(train(arguments.python, folder, recipe, inputs, seed, baseline))
        found.append(figures(judge(folder, "score", recipe.evaluation.top, described.left_out)))
        beside[baseline].append(figures(judge(folder, "baseline", recipe.evaluation.top, described.left_out)))
        sys.stderr.write(f"seed {seed}: {found[-1]} in {taken[-1]:.0f} s\n")
    return {
        "train_from": arguments.train_from, "rows": described.rows, "positives": described.positives,
        "left_out": described.left_out, "recipe": msgspec.to_builtins(recipe), "seeds": found, "ours": spread(found),
        "baselines": {name: spread(each) for name, each in beside.items() if each}, "seconds": taken,
    }  # fmt: skip


def _row(name: str, values: dict[str, tuple[float, float]]) -> str:
    cells = " | ".join(f"{values[measure][0]:.4f} ± {values[measure][1]:.4f}" for measure in BARS)
    return f"| {name} | {cells} |"


def markdown(arguments: argparse.Namespace, result: dict[str, Any]) -> str:
    count = len(result["seeds"])
    lines = [
        f"Trained on the week from {result['train_from']}, judged on the week that begins 14 days later: rows "
        f"{result['rows']}, frauds {result['positives']}, {result['left_out']} rows of known customers left out. "
        f"Features from the lake through Feast's historical features. Mean of {count} seeds ± standard deviation.",
        "",
        "| | AUC ROC | average precision | card precision@100 |",
        "|---|---|---|---|",
        _row("**this**", result["ours"]),
        *(
            _row(f"{name.replace('_', ' ')}, scikit-learn, same rows", each)
            for name, each in result["baselines"].items()
        ),
        *(f"| the book: {name} | {' | '.join(f'{value:.3f}' for value in values)} |" for name, values in BOOK.items()),
        f"| bar | {' | '.join(f'{bar:.3f}' for bar in BARS.values())} |",
        "",
        f"Brier score {result['ours']['brier'][0]:.5f}; {np.mean(result['seconds']):.0f} s a training.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
