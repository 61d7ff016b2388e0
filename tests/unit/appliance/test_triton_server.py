"""Two servers on one port are told apart; a server is replaced when it has grown, and not again and again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from appliance import notices
from appliance.clients.triton_repository import TritonRepository, TritonUnavailableError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts import triton_server
from appliance.parts.base import Context
from appliance.parts.triton_server import Keeping, changing
from appliance.secrets import Secrets
from appliance.settings import Settings, Triton


class _Server(HTTPServer):
    """Answers as one tritonserver with that name."""

    allow_reuse_port = True

    def __init__(self, port: int, name: str) -> None:
        self.asked = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked += self.path.endswith("live")
                body = f'{{"name":"{name}"}}'.encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *words: Any) -> None:
                """Quiet."""

        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture
def pair() -> Iterator[tuple[int, _Server, _Server]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    servers = _Server(port, "triton-1"), _Server(port, "triton-2")
    yield port, *servers
    for server in servers:
        server.shutdown()
        server.server_close()


def test_one_of_two_servers_on_a_port_is_asked(pair: tuple[int, _Server, _Server]) -> None:
    port, first, second = pair
    for _ in range(20):
        TritonRepository(port, server="triton-2").live()
    assert (first.asked, second.asked) == (0, 20)


def test_a_server_that_is_not_there_is_not_mistaken_for_another(pair: tuple[int, _Server, _Server]) -> None:
    with pytest.raises(TritonUnavailableError, match="triton-3"):
        TritonRepository(pair[0], server="triton-3").live()


def test_models_and_servers_are_changed_by_one_at_a_time(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    with changing(repository) as mine, changing(repository, wait=False) as other:
        assert mine and not other
    with changing(repository, wait=False) as mine:
        assert mine


def test_a_server_that_has_grown_is_replaced_once_and_then_a_person_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Context(
        Layout.below(tmp_path), Installation("0", 1, "root", "main", "test", "", {}, {}),
        Settings(triton=Triton(max_resident_mib=100)), Secrets(tmp_path),
    )  # fmt: skip
    size = 50.0
    monkeypatch.setattr(triton_server, "memory_mib", lambda pid: (0.0, size))
    monkeypatch.setattr(triton_server, "command", lambda context, number: ("/bin/sleep", "60"))
    keeping = Keeping(context)
    try:
        later = 1e9
        assert not keeping._too_large(later)
        size = 150.0
        assert keeping._too_large(later + 100)
        keeping._not_before = later + 1000
        assert not keeping._too_large(later + 200)
        (notice,) = notices.read(context.layout)
        assert "150 MiB" in notice.sentence and "max_resident_mib" in notice.hint
        size = 50.0
        assert not keeping._too_large(later + 300) and notices.read(context.layout) == []
    finally:
        keeping.stop()
