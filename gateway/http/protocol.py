"""HTTP/1.1 as uvicorn speaks it, with a gate in front of scoring, and a lane behind the gate.

A refusal costs no task, no parsing, no login; what the lane takes costs no routing.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.http import problems
from gateway.http.gate import Gate, weight
from gateway.http.lane import MOST_BYTES, Lane, Passage

_PREDICT = b"/predict"
_POST, _VERSION, _END = b"POST /v1/services/", b" HTTP/1.1\r\n", b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_ODD = re.compile(rb"\r\n(?:transfer-encoding|expect|upgrade|connection:(?! *keep-alive))", re.IGNORECASE)
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


def _whole(data: bytes) -> int:
    """How many bytes the body has if this is one whole request to score in the ordinary form, else -1."""
    head = data.find(_END)
    line = data.find(_VERSION, 0, head)
    if line < 0 or not data.startswith(_POST) or not data.endswith(_PREDICT, 0, line):
        return -1
    length = _LENGTH.search(data, 0, head)
    if length is None or _ODD.search(data, 0, head):
        return -1
    size = int(length[1])
    return size if head + len(_END) + size == len(data) else -1


def gated(app: Asgi, gate: Gate) -> Asgi:
    """An ASGI application that says when a request that was let in is done with."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        finally:
            if entered := scope.get("state", {}).get(_WEIGHT):
                gate.leave(entered)

    return call


class GatedProtocol(HttpToolsProtocol):
    """A request to score that is not let in is read to its end and answered here."""

    gate: Gate
    lane: Lane
    _refused = False
    _between = True
    _size = 0

    def data_received(self, data: bytes) -> None:
        """When there is no room, a whole request is refused before it is parsed: most of the cost is there."""
        answered = self.cycle is None or self.cycle.response_complete
        size = _whole(data) if self._between and answered and self.gate.busy else -1
        if size >= 0 and not self.gate.has_room(weight(size)):
            self._unset_keepalive_if_required()
            self.transport.write(_KEPT)
            self.on_response_complete()
            return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._size, self._between = 0, False

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        if len(name) == 14 and value.isdigit() and name.lower() == b"content-length":
            self._size = int(value)

    def on_headers_complete(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if not answering and not self.expect_100_continue and self.url.endswith(_PREDICT):
            entered = weight(self._size)
            if not self.gate.enter(entered):
                self._refused = True
                return
            if self._taken(entered):
                return
            self.scope["state"][_WEIGHT] = entered
        super().on_headers_complete()

    def _taken(self, entered: int) -> bool:
        """Whether the lane takes it; uvicorn then sees a request under way."""
        parser = self.parser
        if not 0 < self._size <= MOST_BYTES or parser.should_upgrade() or parser.get_http_version() != "1.1":
            return False
        passage = self.lane.enter(parser.get_method(), self.url, self.headers, entered, parser.should_keep_alive())
        if passage is None:
            return False
        self.cycle = cast(RequestResponseCycle, passage)
        return True

    def _passage(self) -> Passage | None:
        """What is on the lane, or was there last."""
        cycle: object = self.cycle
        return cycle if isinstance(cycle, Passage) else None

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._between = True
        if not self._refused:
            super().on_message_complete()
            passage = self._passage()
            if passage is not None and not passage.response_complete:
                task = self.loop.create_task(self._pass(passage))
                task.add_done_callback(self.tasks.discard)
                self.tasks.add(task)
            return
        self._refused = False
        if self.parser.should_keep_alive():
            self.transport.write(_KEPT)
            self.on_response_complete()
        else:
            self.transport.write(_CLOSED)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        passage = self._passage()
        if passage is not None and passage.more_body:
            self.gate.leave(passage.weight)
        super().connection_lost(exc)

    async def _pass(self, passage: Passage) -> None:
        try:
            response = await self.lane.answer(passage, self.server_state.default_headers)
        finally:
            passage.response_complete = True
            self.gate.leave(passage.weight)
        if passage.disconnected:
            return
        self.transport.write(response)
        if not passage.keep_alive:
            self.transport.close()
        self.on_response_complete()


def protocol(gate: Gate, lane: Lane) -> type[HttpToolsProtocol]:
    """uvicorn's protocol with this gate and this lane."""
    return type("GatedProtocol", (GatedProtocol,), {"gate": gate, "lane": lane})
