"""HBase: configuration, the framing of its RPC, and mending of a connection, without a server."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from appliance.clients.hbase import _MendingClient
from appliance.errors import NotReadyError
from appliance.parts import hbase_rpc


@pytest.mark.parametrize("length", [0, 1, 127, 128, 300, 20_000])
def test_a_delimited_message_is_read_back(length: int) -> None:
    message = hbase_rpc._CLASS["Get"](row=b"x" * length)
    raw, end = hbase_rpc._undelimited(b"??" + hbase_rpc._delimited(message) + b"!", 2)
    assert hbase_rpc._CLASS["Get"].FromString(raw).row == b"x" * length
    assert end == 2 + len(hbase_rpc._delimited(message))


def test_a_server_that_hangs_up_is_not_ready() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        with pytest.raises(NotReadyError, match="does not answer Get"):
            hbase_rpc.read_meta(server.getsockname()[1])
        thread.join()


class _Connection:
    """Counts how often it is closed and opened again."""

    def __init__(self, after: object, *, is_open: bool = True) -> None:
        self.after, self.closed, self.opened = after, 0, 0
        self.transport = self
        self.is_open = lambda: is_open

    def close(self) -> None:
        self.closed += 1

    def reopened(self) -> object:
        self.opened += 1
        return self.after


class _Broken:
    def getRow(self, name: str) -> str:  # noqa: N802 (Thrift's name)
        raise BrokenPipeError(name)

    scannerGetList = atomicIncrement = getRow  # noqa: N815


class _Whole:
    def getRow(self, name: str) -> str:  # noqa: N802
        return f"row of {name}"


def test_a_read_on_a_broken_connection_is_repeated_once() -> None:
    connection = _Connection(_Whole())
    assert _MendingClient(connection, _Broken()).getRow("t") == "row of t"
    assert (connection.closed, connection.opened) == (1, 1)


def test_a_connection_that_could_not_be_opened_is_opened_by_the_next_call() -> None:
    connection = _Connection(_Whole(), is_open=False)
    assert _MendingClient(connection, _Broken()).getRow("t") == "row of t"
    assert (connection.closed, connection.opened) == (0, 1)


@pytest.mark.parametrize("call", ["scannerGetList", "atomicIncrement"])
def test_what_may_not_be_sent_twice_is_not(call: str) -> None:
    connection = _Connection(_Whole())
    with pytest.raises(BrokenPipeError):
        getattr(_MendingClient(connection, _Broken()), call)("t")
    assert connection.opened == 0


def test_every_port_of_the_site_is_on_loopback(tmp_path: Path) -> None:
    from appliance.installation import Installation
    from appliance.layout import Layout
    from appliance.parts import hbase_site
    from appliance.parts.base import Context
    from appliance.secrets import Secrets
    from appliance.settings import Settings

    layout = Layout.below(tmp_path)
    installation = Installation("0", 40_000, "u", "main", "s", "c", {}, {})
    context = Context(layout, installation, Settings(), Secrets(layout.secrets))
    site = hbase_site.properties(context)
    assert {site[key] for key in site if key.lower().endswith(("address", "hostname"))} == {"127.0.0.1", "localhost"}
    ports = [int(value) for key, value in site.items() if key.lower().endswith("port")]
    assert all(port == -1 or 40_000 < port < 40_050 for port in ports)
    assert len({port for port in ports if port > 0}) == 4
    hbase_site.write(context, tmp_path)
    assert "<value>true</value>" in (tmp_path / "hbase-site.xml").read_text()
