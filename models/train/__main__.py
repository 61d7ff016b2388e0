"""``python -m models.train SPEC.json``: trains, exports, compares, and writes the results into the spec's folder.

Files: ``model.onnx``, ``weights.npz``, ``scores.parquet`` (``score`` of every row of the frame, in its order, by
onnxruntime), ``result.json``. Progress: one JSON line an event on standard output.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pyarrow as pa
import pyarrow.parquet as parquet
import torch

from models.train import export, fit, spec, update, weights


def _progress(event: str, **values: object) -> None:
    sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
    sys.stdout.flush()


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


def main() -> None:
    told = spec.read(Path(sys.argv[1]))
    started = time.monotonic()
    fit.deterministic(told.threads)
    data = spec.arrays(told)
    _progress("read", rows=len(data.y), inputs=len(told.inputs))
    fitted = update.update(told, told.update, data, _progress) if told.update else fit.fit(told, data, _progress)
    trained = time.monotonic()
    path = told.folder / "model.onnx"
    export.export(fitted.scorer, len(told.inputs), path)
    onnx = export.onnx_scores(path, data.x)
    by_torch = export.torch_scores(fitted.scorer, data.x)
    difference = float(np.abs(onnx.astype(np.float64) - by_torch).max())
    _progress("exported", bytes=path.stat().st_size, torch_onnx_difference=difference)
    weights.write(fitted.scorer, told.folder)
    golden = _golden(data, told.golden_rows)
    parquet.write_table(pa.table({"score": onnx}), told.folder / "scores.parquet")
    result = {
        "torch_onnx_difference": difference,
        "epochs": fitted.epochs,
        "calibration": {"slope": fitted.calibration.slope, "offset": fitted.calibration.offset},
        "tail_scores": fitted.tail_scores.tolist(),
        "golden": {
            "rows": [[_number(value) for value in row] for row in data.x[golden]],
            "scores": by_torch[golden].astype(float).tolist(),
        },
        "missing_share": dict(zip(told.inputs, np.isnan(data.x).mean(0).astype(float).tolist(), strict=True)),
        "train_seconds": trained - started,
        "device": fitted.device,
        "versions": {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "numpy": np.__version__},
    }
    (told.folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
