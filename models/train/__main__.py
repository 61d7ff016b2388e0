"""``python -m models.train SPEC.json``: trains, exports, compares, and writes the results into the spec's folder.

Files: ``model.onnx``, ``weights.npz``, ``scores.parquet`` (of every row of the frame, in its order: ``score`` by
onnxruntime and, if a baseline is wanted, ``baseline``), plots (``models.train.plots``), ``result.json``. Progress: one
JSON line an event on standard output.
"""

from __future__ import annotations

import sys
from pathlib import Path

from models.train import device, export, fit, spec, update, weights
from models.train.finish import Made, finish, say
from models.train.phases import Phases


def main() -> None:
    told = spec.read(Path(sys.argv[1]))
    device.deterministic(told.threads)
    phases = Phases(device.choose(told.device))
    with phases.of("read"):
        data = spec.arrays(told)
    say("read", rows=len(data.y), inputs=len(told.inputs))
    if told.update:
        with phases.of("train"):
            fitted = update.update(told, told.update, data, say)
    else:
        fitted = fit.fit(told, data, say, phases)
    path = told.folder / "model.onnx"
    with phases.of("export"):
        export.export(fitted.scorer, len(told.inputs), path)
    with phases.of("compare"):
        by_onnx, by_torch = export.onnx_scores(path, data.x), export.torch_scores(fitted.scorer, data.x)
    weights.write(fitted.scorer, told.folder)
    made = Made(
        by_torch, by_onnx, fitted.tail_scores, fitted.calibration, fitted.device, fitted.epochs, fitted.curves
    )  # fmt: skip
    say("exported", bytes=path.stat().st_size, torch_onnx_difference=made.difference)
    finish(told, data, made, phases)


if __name__ == "__main__":
    main()
