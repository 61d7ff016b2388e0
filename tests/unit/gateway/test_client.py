"""The Python client against a real HTTP server that answers what each test lays out for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from gateway.client import ApiError, AsyncClient, Client, Retries, UnreachableError

_QUICK = Retries(attempts=3, first_wait_s=0.01, longest_wait_s=0.05)
_ROW = {"id": 1, "amount": Decimal("12.50"), "at": datetime(2026, 1, 31, 12, tzinfo=UTC)}
_ANSWER = {
    "service": "s", "request_id": "r", "model": "m", "model_version": "1", "repeated": False,
    "predictions": [
        {"prediction_id": "p", "event_key": "1", "as_of": "2026-01-31T12:00:00Z", "score": 0.5, "decision": "review",
         "reason": "", "kind": "", "cuts": {}, "features": {"v:f": {"value": 2, "status": "present", "age_ms": 3}}},
    ],
}  # fmt: skip
_AWAY = (503, {"code": "redis.unavailable", "message": "redis does not answer", "hint": "wait"}, {"Retry-After": "1"})


@dataclass
class Server:
    """answers: given one after the other. seen: (method, path, headers, body) of each request."""

    address: str = ""
    answers: list[tuple[int, Any, dict[str, str]]] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = msgspec.json.decode(self.rfile.read(length)) if length else None
            state.seen.append((self.command, self.path, dict(self.headers), body))
            status, answer, headers = state.answers.pop(0)
            raw = answer if isinstance(answer, bytes) else msgspec.json.encode(answer)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    yield state
    http.shutdown()
    http.server_close()


def test_a_prediction_is_typed_and_values_go_out_exactly(server: Server) -> None:
    server.answers = [(200, _ANSWER, {})]
    with Client(server.address, "app-1", "secret") as client:
        answer = client.predict("s", [_ROW])
    assert answer.predictions[0].features["v:f"].value == 2
    method, path, headers, body = server.seen[0]
    assert (method, path) == ("POST", "/v1/services/s/predict")
    assert (headers["X-App-Id"], headers["Authorization"]) == ("app-1", "Bearer secret")
    assert body["rows"] == [{"id": 1, "amount": "12.50", "at": "2026-01-31T12:00:00+00:00"}]


def test_a_part_that_was_away_is_asked_again_with_the_same_request_id(server: Server) -> None:
    server.answers = [_AWAY, _AWAY, (200, _ANSWER, {})]
    with Client(server.address, "a", "t", retries=_QUICK) as client:
        client.predict("s", [_ROW])
    ids = {body["request_id"] for _, _, _, body in server.seen}
    assert len(server.seen) == 3
    assert len(ids) == 1


def test_after_the_last_attempt_the_reason_is_told(server: Server) -> None:
    server.answers = [_AWAY] * 3
    with Client(server.address, "a", "t", retries=_QUICK) as client, pytest.raises(ApiError) as told:
        client.services()
    assert (told.value.status, told.value.code, told.value.retry_after_s) == (503, "redis.unavailable", 1.0)
    assert told.value.hint == "wait"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_will_not_pass_is_asked_once(server: Server, status: int) -> None:
    server.answers = [(status, b"<html>not a problem</html>", {})]
    with Client(server.address, "a", "t", retries=_QUICK) as client, pytest.raises(ApiError) as told:
        client.features("s", {"customer_id": 1}, as_of_us=5)
    assert (told.value.status, told.value.code) == (status, f"http.{status}")
    assert server.seen[0][1] == "/v1/services/s/features?customer_id=1&as_of_us=5"


def test_an_answer_of_another_version_is_said_to_be_one(server: Server) -> None:
    server.answers = [(200, {"unlike": 1}, {})]
    with Client(server.address, "a", "t") as client, pytest.raises(ApiError, match="something else"):
        client.predict("s", [_ROW])


def test_nobody_there_is_told_with_the_address() -> None:
    with Client("http://127.0.0.1:1", "a", "t", retries=_QUICK) as client, pytest.raises(UnreachableError) as told:
        client.services()
    assert "127.0.0.1:1" in told.value.message


def test_a_time_without_zone_is_refused_before_it_is_sent(server: Server) -> None:
    with Client(server.address, "a", "t") as client, pytest.raises(ValueError, match="must have a zone"):
        client.predict("s", [{"at": datetime(2026, 1, 31)}])
    assert server.seen == []


def test_many_asynchronous_calls_share_one_client(server: Server) -> None:
    server.answers = [_AWAY, *[(200, _ANSWER, {})] * 10]

    async def ask() -> list[float]:
        async with AsyncClient(server.address, "a", "t", retries=_QUICK) as client:
            answers = await asyncio.gather(*(client.predict("s", [_ROW], request_id=str(n)) for n in range(10)))
        return [answer.predictions[0].score for answer in answers]

    assert asyncio.run(ask()) == [0.5] * 10
    assert len(server.seen) == 11
