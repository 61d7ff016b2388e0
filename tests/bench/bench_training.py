"""Training on a GPU beside the same machine's CPU: rows a second, time to the same average precision, where time goes.

    python -m tests.bench.bench_training [--rows 2000000] [--hidden 512,512,256] [--batch-rows 8192] [--epochs 6]

Run it in the repository's root with the training environment's Python (torch, scikit-learn, onnxruntime, pyarrow,
matplotlib; nothing else is needed, no appliance). A synthetic frame of rare positives is trained on by
``python -m models.train`` itself, once on the CPU with as many threads as it has cores and once on the GPU, with the
same rows, batch, epochs and seed. Rows a second: rows that went through the network forwards and backwards, divided by
the time of these epochs alone. Without a GPU only the CPU is measured, and no ratio is claimed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import torch
from matplotlib.figure import Figure

from models.metrics import average_precision

_INPUTS = 15
_BLOCK = 1 << 18
_PHASES = ("read", "transfer", "prepare", "train", "judge", "export", "compare")
WANTED_RATIO, ALLOWED_DIFFERENCE = 10.0, 0.01


def make_frame(path: Path, rows: int) -> None:
    """Few positives, by a rule with steps and products; a hundredth of the values is missing.

    70 % fit, 15 % tail, the rest test. Written in blocks.
    """
    random = np.random.default_rng(11)
    names = [f"x{number}" for number in range(_INPUTS)]
    writer: parquet.ParquetWriter | None = None
    for start in range(0, rows, _BLOCK):
        count = min(_BLOCK, rows - start)
        x = random.standard_normal((count, _INPUTS)).astype(np.float32)
        logit = 1.5 * x[:, 0] * x[:, 1] + 2.0 * (x[:, 2] > 1) + x[:, 3] - 0.5 * x[:, 4] ** 2 - 5.0
        label = (random.random(count) < 1 / (1 + np.exp(-logit))).astype(np.int8)
        x[random.random(x.shape) < 0.01] = np.nan
        part = np.digitize((start + np.arange(count)) / rows, [0.7, 0.85]).astype(np.int8)
        columns: dict[str, Any] = dict(zip(names, x.T.copy(), strict=True))
        table = pa.table({**columns, "label": label, "part": part})
        writer = writer or parquet.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def run(folder: Path, device: str, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """One training in a process of its own: what it says of itself, rows a second, average precision on the test."""
    frame = folder / "frame.parquet"
    own = folder / device
    own.mkdir()
    told = {
        "frame": str(frame), "folder": str(own), "inputs": [f"x{number}" for number in range(_INPUTS)], "log": [],
        "network": {"hidden": [int(width) for width in arguments.hidden.split(",")], "dropout": 0.1, "members": 1},
        "fit": {"learning_rate": 0.002, "weight_decay": 0.0001, "batch_rows": arguments.batch_rows,
                "max_epochs": arguments.epochs, "patience_epochs": arguments.epochs, "positive_weight": 1.0},
        "seed": 7, "device": device, "threads": threads, "golden_rows": 32,
    }  # fmt: skip
    (own / "spec.json").write_text(json.dumps(told))
    done = subprocess.run(
        [sys.executable, "-m", "models.train", "spec.json"], cwd=own, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((own / "result.json").read_text())
    table = parquet.read_table(frame, columns=["label", "part"])
    part, label = table["part"].to_numpy(), table["label"].to_numpy().astype(np.int64)
    scores = parquet.read_table(own / "scores.parquet")["score"].to_numpy()
    trained = len(result["curves"][0]["fit_loss"]) * int((part == 0).sum()) + result["epochs"][0] * int(
        (part < 2).sum()
    )
    phases = {name: result["phases"].get(name, 0.0) for name in _PHASES}
    return {
        "device": device, "threads": threads, "epochs": result["epochs"], "phases": phases, "rows_trained": trained,
        "rows_per_second": trained / phases["train"], "seconds_to_model": sum(phases[name] for name in _PHASES[:5]),
        "average_precision": average_precision(label[part == 2], scores[part == 2]),
        "torch_onnx_difference": result["torch_onnx_difference"],
    }  # fmt: skip


def plot(results: list[dict[str, Any]], path: Path) -> None:
    """Seconds of each phase, a bar a device."""
    figure = Figure((8, 1.2 + 0.8 * len(results)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(results))
    for name in _PHASES:
        widths = np.array([each["phases"][name] for each in results])
        axes.barh([each["device"] for each in results], widths, left=left, label=name)
        left += widths
    axes.set_xlabel("seconds")
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.35))
    figure.savefig(path)


def markdown(results: list[dict[str, Any]], machine: str, arguments: argparse.Namespace) -> str:
    lines = [
        f"{arguments.rows:,} rows, network {arguments.hidden}, {arguments.batch_rows} rows a batch, {arguments.epochs} "
        f"epochs; {machine}",
        "",
        "| | rows/s | average precision | seconds to it | of these training |",
        "|---|---|---|---|---|",
    ]
    for each in results:
        name = f"{each['device']}, {each['threads']} threads"
        lines.append(
            f"| {name} | {each['rows_per_second']:,.0f} | {each['average_precision']:.4f} "
            f"| {each['seconds_to_model']:.1f} | {each['phases']['train']:.1f} |"
        )
    if len(results) == 2:
        cpu, gpu = results
        ratio = gpu["rows_per_second"] / cpu["rows_per_second"]
        apart = abs(gpu["average_precision"] - cpu["average_precision"])
        lines += [
            "",
            f"GPU ÷ CPU: {ratio:.1f} (bar: {WANTED_RATIO:g}); average precision {apart:.4f} apart "
            f"(bar: {ALLOWED_DIFFERENCE:g}). Where time goes: training.svg.",
        ]
    else:
        lines += ["", "This machine has no GPU: no ratio is claimed. Where time goes: training.svg."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--hidden", default="512,512,256")
    parser.add_argument("--batch-rows", type=int, default=8192)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the CPU (all its cores)")
    parser.add_argument("--out", type=Path, help="folder of training.json, .md and .svg (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="training-"))
    out.mkdir(parents=True, exist_ok=True)
    has_gpu = torch.cuda.is_available()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {torch.cuda.get_device_name() if has_gpu else 'no GPU'}"
    with tempfile.TemporaryDirectory() as home:
        make_frame(Path(home) / "frame.parquet", arguments.rows)
        results = [run(Path(home), device, arguments.threads, arguments) for device in ("cpu", "cuda")[: 1 + has_gpu]]
    plot(results, out / "training.svg")
    text = markdown(results, machine, arguments)
    (out / "training.json").write_text(json.dumps({"machine": machine, "results": results}, indent=1))
    (out / "training.md").write_text(text)
    print(f"{text}\n{out}/training.json, .md, .svg")
    if len(results) < 2:
        return 0
    cpu, gpu = results
    fast = gpu["rows_per_second"] >= WANTED_RATIO * cpu["rows_per_second"]
    return 0 if fast and abs(gpu["average_precision"] - cpu["average_precision"]) <= ALLOWED_DIFFERENCE else 1


if __name__ == "__main__":
    sys.exit(main())
