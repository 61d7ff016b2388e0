"""The client of Triton against a server that answers what a test tells it to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from appliance.clients.triton import MAX_ROWS, TritonClient
from appliance.clients.triton_repository import TritonModelError, TritonUnavailableError

Reply = Callable[[bytes], bytes | None]
_ONE = np.zeros((1, 2), np.float32)


def _scores(rows: int, value: float = 0.5) -> bytes:
    raw = np.full(rows, value, np.float32).tobytes()
    head = (
        b'{"model_name":"m","model_version":"3","outputs":[{"name":"other","datatype":"FP32","shape":[1],"parameters":'
        b'{"binary_data_size":4}},{"name":"score","datatype":"FP32","shape":[%d,1],"parameters":{"binary_data_size":%d}}]}'
        % (rows, len(raw))
    )
    body = head + b"\1\2\3\4" + raw
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n"
        b"Content-Length: %d\r\n\r\n" % (len(head), len(body))
    ) + body


def _error(status: int) -> bytes:
    return b'HTTP/1.1 %d X\r\nContent-Length: 15\r\n\r\n{"error":"why"}' % status


@contextmanager
def _server(*replies: Reply) -> Iterator[tuple[str, list[bytes]]]:
    """Answers one request after the other; None closes the connection instead. The requests that came."""
    asked: list[bytes] = []
    left = list(replies)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while left:
                connection, _ = listening.accept()
                with connection:
                    while left and (request := _request(connection)):
                        asked.append(request)
                        answer = left.pop(0)(request)
                        if answer is None:
                            break
                        connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}", asked


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (part := connection.recv(65536)):
            return b""
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    size = int(head.lower().split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0])
    while len(body) < size:
        body += connection.recv(65536)
    return body


def test_scores_and_version_are_found_behind_other_outputs() -> None:
    with _server(lambda _: _scores(1)) as (address, asked), TritonClient(address) as client:
        scores, version = client.infer("m", _ONE)
    assert (scores.tolist(), version) == ([0.5], "3")
    assert asked[0].endswith(_ONE.tobytes())


def test_many_rows_are_several_requests_on_one_connection() -> None:
    with (
        _server(lambda _: _scores(MAX_ROWS, 0.25), lambda _: _scores(6, 0.75)) as (address, asked),
        TritonClient(address) as client,
    ):
        scores, _ = client.infer("m", np.zeros((MAX_ROWS + 6, 2), np.float32))
    assert len(asked) == 2
    assert scores.tolist() == [0.25] * MAX_ROWS + [0.75] * 6


@pytest.mark.parametrize("trouble", [lambda _: None, lambda _: _error(503)])
def test_a_server_that_goes_or_starts_is_asked_again(trouble: Reply) -> None:
    with _server(trouble, trouble, lambda _: _scores(1)) as (address, asked), TritonClient(address) as client:
        assert client.infer("m", _ONE)[0].tolist() == [0.5]
    assert len(asked) == 3


@pytest.mark.parametrize(("status", "kind"), [(400, TritonModelError), (404, TritonUnavailableError)])
def test_a_refusal_is_told_and_not_asked_again(status: int, kind: type[Exception]) -> None:
    with (
        _server(lambda _: _error(status)) as (address, asked),
        TritonClient(address) as client,
        pytest.raises(kind, match="why"),
    ):
        client.infer("m", _ONE)
    assert len(asked) == 1


def test_a_silent_server_costs_no_more_than_the_deadline() -> None:
    def late(_: bytes) -> bytes | None:
        time.sleep(0.5)
        return None

    with _server(late) as (address, _), TritonClient(address) as client:
        began = time.monotonic()
        with pytest.raises(TritonUnavailableError, match="no answer within"):
            client.infer("m", _ONE, began + 0.1)
        assert time.monotonic() - began < 0.4
