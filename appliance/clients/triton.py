"""Inference at Triton over gRPC, with and without asyncio.

A connection is kept and shared; both clients may be used by many tasks or threads at once.
"""

from __future__ import annotations

import json
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpc_sync
import tritonclient.grpc.aio as grpc_aio
from tritonclient.utils import InferenceServerException

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
_OPTIONS = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.service_config", json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": _RETRY}]})),
]


def _inputs(features: Array) -> list[Any]:
    tensor = grpc_sync.InferInput(INPUT, list(features.shape), "FP32")
    tensor.set_data_from_numpy(features)
    return [tensor]


def _checked(features: npt.NDArray[Any]) -> Array:
    if features.ndim != 2 or len(features) == 0:
        raise TritonModelError(
            "triton.shape", f"features must be [rows, width] with at least one row, got shape {features.shape}"
        )
    return np.ascontiguousarray(features, dtype=np.float32)


def _answer(result: Any) -> tuple[Array, str]:
    return result.as_numpy(OUTPUT).reshape(-1), str(result.get_response().model_version)


def _failure(error: InferenceServerException, model: str, address: str) -> ApplianceError:
    """Triton's error as one of ours: of the model, or of the server (stopping, starting, too slow, gone).

    NOT_FOUND and UNAVAILABLE are what a server says that is just starting or stopping: both can be tried again.
    """
    status = str(error.status() or "")
    message = f"{model} at {address}: {error.message()} [{status}]"
    if "INVALID_ARGUMENT" in status:
        return TritonModelError("triton.refused", message, hint="appliance model show")
    return TritonUnavailableError("triton.unavailable", message, hint="appliance status; appliance logs triton")


def _address(context: Context) -> str:
    return f"127.0.0.1:{context.port(Port.TRITON_GRPC)}"


class TritonClient:
    """Blocking client. timeout_ms bounds each request."""

    def __init__(self, address: str, timeout_ms: int = 2_000) -> None:
        self._address, self._timeout_s = address, timeout_ms / 1000
        self._client = grpc_sync.InferenceServerClient(address, channel_args=_OPTIONS)

    @classmethod
    def of(cls, context: Context) -> TritonClient:
        return cls(_address(context), context.settings.scoring.request_timeout_ms)

    def infer(self, model: str, features: npt.NDArray[Any]) -> tuple[Array, str]:
        """Scores [n] of features [n, k], and the version that gave them.

        Raises TritonUnavailableError (try again later) or TritonModelError (the request does not fit the model).
        """
        features = _checked(features)
        scores, version = [], ""
        for start in range(0, len(features), MAX_ROWS):
            inputs = _inputs(features[start : start + MAX_ROWS])
            try:
                result = self._client.infer(model, inputs, client_timeout=self._timeout_s)
            except InferenceServerException as error:
                raise _failure(error, model, self._address) from error
            part, version = _answer(result)
            scores.append(part)
        return np.concatenate(scores), version

    def close(self) -> None:
        self._client.close()

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
        self._client = grpc_aio.InferenceServerClient(address, channel_args=_OPTIONS)

    @classmethod
    def of(cls, context: Context) -> AsyncTritonClient:
        return cls(_address(context), context.settings.scoring.request_timeout_ms)

    async def infer(self, model: str, features: npt.NDArray[Any]) -> tuple[Array, str]:
        """As ``TritonClient.infer``."""
        features = _checked(features)
        scores, version = [], ""
        for start in range(0, len(features), MAX_ROWS):
            inputs = _inputs(features[start : start + MAX_ROWS])
            try:
                result = await self._client.infer(model, inputs, client_timeout=self._timeout_s)
            except InferenceServerException as error:
                raise _failure(error, model, self._address) from error
            part, version = _answer(result)
            scores.append(part)
        return np.concatenate(scores), version

    async def close(self) -> None:
        await self._client.close()
