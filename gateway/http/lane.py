"""The short way of a request to score: from the protocol to the predictor, and back as bytes.

What an app sends in the ordinary form (its id and token in headers, a body of known, modest length) needs no routing,
no injection, and no response object: they took most of the event loop's time (ADR 0030). Whatever is not in that form
goes through Litestar, to the same predictor, and is answered alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from appliance.errors import ApplianceError
from gateway.apps import Apps
from gateway.http import problems
from gateway.http.auth import SCHEME
from gateway.http.predict import Predictor

MOST_BYTES = 32 * 1024
"""Of a body. uvicorn stops reading at twice as much."""
_BEFORE, _BEHIND = b"/v1/services/", b"/predict"
_STRANGE = frozenset(b"/%?#")


@dataclass(eq=False)
class Passage:
    """A request on the lane; to uvicorn's protocol it is a cycle of request and response. weight: see ``gate``."""

    service: str
    app_id: str
    token: str
    weight: int
    keep_alive: bool
    body: bytearray = field(default_factory=bytearray)
    more_body: bool = True
    response_complete: bool = False
    disconnected: bool = False
    message_event: asyncio.Event = field(default_factory=asyncio.Event)


class Lane:
    """Only for the thread of the event loop."""

    def __init__(self, predictor: Predictor, apps: Apps) -> None:
        self._predictor, self._apps = predictor, apps

    def enter(
        self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]], weight: int, keep_alive: bool
    ) -> Passage | None:
        """A passage for a request in the ordinary form, from an app that has asked just before; else None."""
        name = url[len(_BEFORE) : -len(_BEHIND)]
        if method != b"POST" or not url.startswith(_BEFORE) or not _STRANGE.isdisjoint(name):
            return None
        app_id = authorization = b""
        for header, value in headers:
            if header == b"x-app-id":
                app_id = value
            elif header == b"authorization":
                authorization = value
            elif header == b"transfer-encoding":
                return None
        known, said = app_id.decode("latin-1"), authorization.decode("latin-1")
        if not said.lower().startswith(SCHEME) or not self._apps.remembered(known):
            return None
        return Passage(name.decode("latin-1"), known, said[len(SCHEME) :], weight, keep_alive)

    async def answer(self, passage: Passage, defaults: Sequence[tuple[bytes, bytes]]) -> bytes:
        """The whole response. defaults: headers that every answer has."""
        path = f"/v1/services/{passage.service}/predict"
        kind, status = "application/json", 200
        more: dict[str, str] = {}
        try:
            app = self._apps.authenticate(passage.app_id, passage.token)
            app.may_use(passage.service)
            found = await self._predictor.answer(passage.service, app, bytes(passage.body))
            body = msgspec.json.encode(found)
        except ApplianceError as error:
            what, more = problems.told("POST", path, error)
            kind, status, body = problems.MEDIA_TYPE, what.status, msgspec.json.encode(what)
        except Exception as error:  # noqa: BLE001 - a fault of ours: the caller is told where to look
            what = problems.fault("POST", path, error)
            kind, status, body = problems.MEDIA_TYPE, what.status, msgspec.json.encode(what)
        if not passage.keep_alive:
            more = {**more, "connection": "close"}
        lines = [STATUS_LINE[status], f"content-type: {kind}\r\ncontent-length: {len(body)}\r\n".encode()]
        lines += [f"{name.lower()}: {value}\r\n".encode() for name, value in more.items()]
        lines += [part for name, value in defaults for part in (name, b": ", value, b"\r\n")]
        return b"".join((*lines, b"\r\n", body))
