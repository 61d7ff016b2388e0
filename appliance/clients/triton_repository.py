"""Triton's HTTP side with nothing but the standard library: readiness, repository, and inference for checking.

Used where a small process matters (readiness, watch) and for loading models. Scoring uses ``clients/triton.py``.
"""

from __future__ import annotations

import http.client
import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.ports import Port

INPUT = "features"
OUTPUT = "score"
_TRIES = 64


class TritonUnavailableError(ApplianceError):
    """Triton does not answer, or not in time."""


class TritonModelError(ApplianceError):
    """Triton answers, but refuses the model or the request."""


class ModelState(msgspec.Struct, frozen=True):
    """One version in the repository index. state is empty for a model that was never loaded."""

    name: str
    version: str = ""
    state: str = ""
    reason: str = ""


class _Metadata(msgspec.Struct, frozen=True):
    name: str


class TritonRepository:
    """Calls to one server on loopback. timeout_s bounds each of them (loading takes some seconds).

    server: the one with this identity, where two listen on the same port; "" for any.
    """

    def __init__(self, port: int, timeout_s: float = 5.0, server: str = "") -> None:
        self._port, self._timeout_s, self._server = port, timeout_s, server

    @classmethod
    def of(cls, context: Context, timeout_s: float = 5.0, server: str = "") -> TritonRepository:
        return cls(context.port(Port.TRITON_HTTP), timeout_s, server)

    def _connection(self) -> http.client.HTTPConnection:
        """To the server that is meant: which of two gets a connection is the kernel's choice, so it is made again."""
        for _ in range(_TRIES):
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self._timeout_s)
            if not self._server:
                return connection
            connection.request("GET", "/v2")
            if msgspec.json.decode(connection.getresponse().read(), type=_Metadata).name == self._server:
                return connection
            connection.close()
        raise ConnectionRefusedError(f"none of {_TRIES} connections reached {self._server}")

    def _call(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        """The response's body. Raises TritonUnavailableError, or TritonModelError with Triton's own words."""
        connection = None
        try:
            connection = self._connection()
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            answer = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise TritonUnavailableError(
                "triton.unavailable",
                f"Triton does not answer on 127.0.0.1:{self._port}{path}: {error!r}",
                hint="appliance logs triton",
            ) from error
        finally:
            if connection is not None:
                connection.close()
        if response.status != 200:
            raise TritonModelError(
                "triton.refused",
                f"Triton answers {response.status} to {method} {path}: {answer.decode(errors='replace')[:500]}",
                context={"status": response.status},
                hint="appliance model list, appliance logs triton",
            )
        return answer

    def live(self) -> None:
        """Raises TritonUnavailableError as long as the server is not up."""
        self._call("GET", "/v2/health/live")

    def index(self) -> list[ModelState]:
        """Every model of the repository, loaded or not."""
        return msgspec.json.decode(self._call("POST", "/v2/repository/index"), type=list[ModelState])

    def load(self, model: str) -> None:
        """Load the model as its folder now says. Raises TritonModelError when it cannot be loaded."""
        self._call("POST", f"/v2/repository/models/{model}/load")

    def unload(self, model: str) -> None:
        self._call("POST", f"/v2/repository/models/{model}/unload")

    def infer(self, model: str, rows: Sequence[Sequence[float]]) -> tuple[list[float], str]:
        """Scores [n] of rows [n, k] (sent as float32) and the version that gave them."""
        width = len(rows[0])
        payload = b"".join(struct.pack(f"<{width}f", *row) for row in rows)
        tensor: dict[str, Any] = {
            "name": INPUT, "shape": [len(rows), width], "datatype": "FP32",
            "parameters": {"binary_data_size": len(payload)},
        }  # fmt: skip
        header = msgspec.json.encode({"inputs": [tensor], "outputs": [{"name": OUTPUT}]})
        answer = self._call(
            "POST", f"/v2/models/{model}/infer", header + payload, {"Inference-Header-Content-Length": str(len(header))}
        )
        decoded = msgspec.json.decode(answer)
        return [float(score) for score in decoded["outputs"][0]["data"]], str(decoded["model_version"])
