"""torch → ONNX, with nothing of this machine in the file."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch

from models.train.batches import in_batches
from models.train.network import Scorer

OPSET = 21
"""The runtimes of Triton images of this age load no newer one (IR version 10)."""
IR_VERSION = 10


def export(scorer: Scorer, width: int, path: Path) -> None:
    """Write ``path``: input ``features`` [n, width] float32, output ``score`` [n, 1] float32."""
    example = torch.zeros(2, width)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            scorer, (example,), dynamo=True, input_names=["features"], output_names=["score"],
            dynamic_shapes=({0: torch.export.Dim("rows", min=1, max=1 << 20)},), opset_version=OPSET, verbose=False,
        )  # fmt: skip
    model = program.model_proto
    strip(model)
    model.ir_version = min(model.ir_version, IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def strip(model: onnx.ModelProto) -> None:
    """Take out everything that is not computation: stack traces with local paths, names of Python objects."""
    model.doc_string = ""
    del model.metadata_props[:]
    _strip_nodes(model.graph)
    for function in model.functions:
        function.doc_string = ""
        del function.metadata_props[:]
        for node in function.node:
            node.doc_string = ""
            del node.metadata_props[:]


def _strip_nodes(graph: onnx.GraphProto) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    for values in (graph.input, graph.output, graph.value_info, graph.initializer):
        for value in values:
            value.doc_string = ""
            del value.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip_nodes(attribute.g)


def torch_scores(scorer: Scorer, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[n, k] → [n]."""
    with torch.no_grad():
        return in_batches(lambda rows: scorer(torch.from_numpy(rows))[:, 0].numpy(), x)


def onnx_scores(path: Path, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """[n, k] → [n], by onnxruntime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return in_batches(lambda rows: np.asarray(session.run(["score"], {"features": rows})[0])[:, 0], x)
