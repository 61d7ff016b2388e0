"""HTTP/1.1 as uvicorn speaks it, with a gate in front of scoring: a refusal costs no task, no parsing, no login."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from gateway.http import problems
from gateway.http.gate import Gate, weight

_PREDICT = b"/predict"
_WEIGHT = "appliance.weight"
_RETRY_SECONDS = 1

Asgi = Callable[[Any, Any, Any], Awaitable[None]]


def _refusal(more: str = "") -> bytes:
    problem = problems.problem(
        503, "gateway.busy", "more requests come than can be answered in time", {"retry_after_s": _RETRY_SECONDS},
        "send it again after Retry-After, fewer at a time, or rows together in one request",
    )  # fmt: skip
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 503 Service Unavailable\r\ncontent-type: {problems.MEDIA_TYPE}\r\nretry-after: {_RETRY_SECONDS}\r\n"
        f"content-length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode() + body


_KEPT, _CLOSED = _refusal(), _refusal("connection: close\r\n")


def gated(app: Asgi, gate: Gate) -> Asgi:
    """An ASGI application that says when a request that was let in is done with."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if entered := scope.get("state", {}).get(_WEIGHT):
                gate.leave(entered)

    return call


def protocol(gate: Gate) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with this gate."""

    class GatedProtocol(HttpToolsProtocol):
        """A request to score that is not let in is read to its end and answered here."""

        _refused = False
        _size = 0

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._size = 0

        def on_header(self, name: bytes, value: bytes) -> None:
            super().on_header(name, value)
            if len(name) == 14 and value.isdigit() and name.lower() == b"content-length":
                self._size = int(value)

        def on_headers_complete(self) -> None:
            answering = self.cycle is not None and not self.cycle.response_complete
            if not answering and not self.expect_100_continue and self.url.endswith(_PREDICT):
                entered = weight(self._size)
                if not gate.enter(entered):
                    self._refused = True
                    return
                self.scope["state"][_WEIGHT] = entered
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if not self._refused:
                super().on_body(body)

        def on_message_complete(self) -> None:
            if not self._refused:
                super().on_message_complete()
                return
            self._refused = False
            if self.parser.should_keep_alive():
                self.transport.write(_KEPT)
                self.on_response_complete()
            else:
                self.transport.write(_CLOSED)
                self.transport.close()

    return GatedProtocol
