"""A Redis of a test's own, on the loopback."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

_START_SECONDS = 30


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def start(folder: Path, port: int, **options: str) -> subprocess.Popen[bytes]:
    """A server that keeps nothing unless ``options`` (redis.conf's words) say so; returns when it answers.

    folder: where it works, and where it would keep what it keeps. The caller ends it.
    """
    told = {"port": str(port), "bind": "127.0.0.1", "save": "", "dir": str(folder)} | options
    words = [word for name, value in told.items() for word in (f"--{name}", value)]
    server = subprocess.Popen(["/usr/bin/redis-server", *words], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:
                client.ping()
            return server
        except redis.AuthenticationError:
            return server
        except redis.ConnectionError:
            if time.monotonic() > deadline:
                server.kill()
                raise
            time.sleep(0.05)


@contextlib.contextmanager
def running(folder: Path, port: int | None = None, **options: str) -> Iterator[int]:
    """The port of a server that ends with the block."""
    port = port or free_port()
    server = start(folder, port, **options)
    try:
        yield port
    finally:
        server.kill()
        server.wait()
