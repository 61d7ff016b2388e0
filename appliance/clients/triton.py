"""Inference at Triton over gRPC (KServe v2), with and without asyncio.

A connection is kept and shared; both clients may be used by many tasks or threads at once. Requests are made of the
protocol's own messages: one row costs the client half of what it does through tritonclient's tensors.
"""

from __future__ import annotations

import json
import time
from types import TracebackType
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc

from appliance.clients.triton_repository import INPUT, OUTPUT, TritonModelError, TritonUnavailableError
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.ports import Port

MAX_ROWS = 1024
"""Rows in one request; more are sent as several."""
Array = npt.NDArray[np.float32]

_RETRY = {
    "maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.2s", "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE"],
}  # fmt: skip
"""gRPC's own retries, within a request's time. A connection is reset when a new server takes the place of one that has
grown (``parts/triton_server.py``); asking twice for a score changes nothing."""
_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY}]})),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)
"""A server that comes back is found within a second, not within the two minutes that gRPC waits by itself."""


def _request(model: str, features: Array) -> Any:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name=INPUT, datatype="FP32", shape=features.shape)
    return service_pb2.ModelInferRequest(model_name=model, inputs=[tensor], raw_input_contents=[features.tobytes()])


def _checked(features: npt.NDArray[Any]) -> Array:
    if features.ndim != 2 or len(features) == 0:
        raise TritonModelError(
            "triton.shape", f"features must be [rows, width] with at least one row, got shape {features.shape}"
        )
    return np.ascontiguousarray(features, dtype=np.float32)


def _answer(result: Any) -> tuple[Array, str]:
    for tensor, raw in zip(result.outputs, result.raw_output_contents, strict=True):
        if tensor.name == OUTPUT:
            return np.frombuffer(raw, np.float32), str(result.model_version)
    raise TritonModelError(
        "triton.output", f"{result.model_name} gives {[one.name for one in result.outputs]}, expected {OUTPUT!r}"
    )


def _failure(error: Any, model: str, address: str) -> ApplianceError:
    """gRPC's error as one of ours: of the model, or of the server (stopping, starting, too slow, gone).

    NOT_FOUND and UNAVAILABLE are what a server says that is just starting or stopping: both can be tried again.
    """
    message = f"{model} at {address}: {error.details()} [{error.code()}]"
    if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
        return TritonModelError("triton.refused", message, hint="appliance model show")
    return TritonUnavailableError("triton.unavailable", message, hint="appliance status; appliance logs triton")


def _address(context: Context) -> str:
    return f"127.0.0.1:{context.port(Port.TRITON_GRPC)}"


class TritonClient:
    """Blocking client. timeout_ms bounds each request."""

    def __init__(self, address: str, timeout_ms: int = 2_000) -> None:
        self._address, self._timeout_s = address, timeout_ms / 1000
        self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @classmethod
    def of(cls, context: Context) -> TritonClient:
        return cls(_address(context), context.settings.scoring.request_timeout_ms)

    def infer(self, model: str, features: npt.NDArray[Any], deadline: float | None = None) -> tuple[Array, str]:
        """Scores [n] of features [n, k], and the version that gave them. deadline: of ``time.monotonic``.

        Raises TritonUnavailableError (try again later) or TritonModelError (the request does not fit the model).
        """
        features = _checked(features)
        scores, version = [], ""
        for start in range(0, len(features), MAX_ROWS):
            request = _request(model, features[start : start + MAX_ROWS])
            left = self._timeout_s if deadline is None else min(self._timeout_s, deadline - time.monotonic())
            try:
                result = self._stub.ModelInfer(request, timeout=max(0.0, left))
            except grpc.RpcError as error:
                raise _failure(error, model, self._address) from error
            part, version = _answer(result)
            scores.append(part)
        return scores[0] if len(scores) == 1 else np.concatenate(scores), version

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> TritonClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class AsyncTritonClient:
    """The same for asyncio. Make it inside the running loop."""

    def __init__(self, address: str, timeout_ms: int = 2_000) -> None:
        self._address, self._timeout_s = address, timeout_ms / 1000
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    @classmethod
    def of(cls, context: Context) -> AsyncTritonClient:
        return cls(_address(context), context.settings.scoring.request_timeout_ms)

    async def infer(self, model: str, features: npt.NDArray[Any]) -> tuple[Array, str]:
        """As ``TritonClient.infer``."""
        features = _checked(features)
        scores, version = [], ""
        for start in range(0, len(features), MAX_ROWS):
            request = _request(model, features[start : start + MAX_ROWS])
            try:
                result = await self._stub.ModelInfer(request, timeout=self._timeout_s)
            except grpc.RpcError as error:
                raise _failure(error, model, self._address) from error
            part, version = _answer(result)
            scores.append(part)
        return np.concatenate(scores), version

    async def close(self) -> None:
        await self._channel.close()
