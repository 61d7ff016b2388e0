"""Triton's backend ``onnxruntime``, written in Python: runs ``model.onnx`` of every model that names it.

It runs in Triton's own environment (numpy < 2, onnxruntime) and imports nothing of ours. It reads the same fields of
``config.pbtxt`` as the native backend, so that a model repository runs unchanged on both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

_TYPES = {
    "tensor(float)": "TYPE_FP32",
    "tensor(double)": "TYPE_FP64",
    "tensor(int64)": "TYPE_INT64",
    "tensor(int32)": "TYPE_INT32",
    "tensor(bool)": "TYPE_BOOL",
    "tensor(string)": "TYPE_STRING",
}
if int(np.__version__.split(".")[0]) >= 2:
    raise ImportError(f"numpy {np.__version__} gives empty outputs in this server: numpy < 2 is needed")


def _session(path: Path, config: dict[str, Any]) -> onnxruntime.InferenceSession:
    """A session on the CPU with the thread counts that the model's parameters name (default 1)."""
    parameters = {name: value["string_value"] for name, value in config.get("parameters", {}).items()}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", "1"))
    options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", "1"))
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check(declared: list[dict[str, Any]], actual: list[Any], what: str) -> None:
    """Refuse a config whose inputs or outputs are not those of the ONNX graph."""
    expected = {tensor.name: _TYPES.get(tensor.type, tensor.type) for tensor in actual}
    got = {tensor["name"]: tensor["data_type"] for tensor in declared}
    if expected != got:
        raise pb_utils.TritonModelException(f"{what} of model.onnx are {expected}, config.pbtxt says {got}")


class TritonPythonModel:
    """One instance of one version of one model."""

    @staticmethod
    def auto_complete_config(auto_complete_model_config: Any) -> Any:
        """Nothing is completed: every config says its inputs and outputs itself."""
        return auto_complete_model_config

    def initialize(self, args: dict[str, str]) -> None:
        config = json.loads(args["model_config"])
        name = config.get("default_model_filename") or "model.onnx"
        self._session = _session(Path(args["model_repository"]) / args["model_version"] / name, config)
        self._batched = config["max_batch_size"] > 0
        self._inputs = [tensor.name for tensor in self._session.get_inputs()]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        _check(config["input"], self._session.get_inputs(), "inputs")
        _check(config["output"], self._session.get_outputs(), "outputs")

    def _run(self, feed: dict[str, Any]) -> list[Any]:
        return list(self._session.run(self._outputs, feed))

    def _response(self, results: list[Any]) -> Any:
        tensors = [pb_utils.Tensor(name, result) for name, result in zip(self._outputs, results, strict=True)]
        return pb_utils.InferenceResponse(tensors)

    def _each(self, feeds: list[dict[str, Any]]) -> list[Any]:
        """Run requests one by one: a request that cannot be computed spoils no other."""
        responses = []
        for feed in feeds:
            try:
                responses.append(self._response(self._run(feed)))
            except Exception as error:  # noqa: BLE001 - the request's own answer; raising would end the process
                responses.append(pb_utils.InferenceResponse(error=pb_utils.TritonError(f"onnxruntime: {error}")))
        return responses

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests: together as one batch where the model is batched, else one by one."""
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
            for request in requests
        ]
        if len(feeds) == 1 or not self._batched:
            return self._each(feeds)
        try:
            results = self._run({name: np.concatenate([feed[name] for feed in feeds]) for name in self._inputs})
        except Exception:  # noqa: BLE001 - one row of the batch may be at fault; each request gets its own answer
            return self._each(feeds)
        ends = np.cumsum([len(feed[self._inputs[0]]) for feed in feeds])[:-1]
        parts = [np.split(result, ends) for result in results]
        return [self._response([part[i] for part in parts]) for i in range(len(feeds))]
