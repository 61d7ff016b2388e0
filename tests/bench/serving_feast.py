"""Feast's own feature server over its own Redis store, with 12 values of each of 1,000 pairs computed before."""

from __future__ import annotations

import contextlib
import random
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import bench_online_read as online

_START_SECONDS = 120.0


@dataclass(frozen=True)
class FeatureServer:
    """port: of ``feast serve``. bodies: requests for the 12 features of one pair."""

    port: int
    bodies: list[str]


@contextlib.contextmanager
def running(feast: Path, workers: int) -> Iterator[FeatureServer]:
    """feast: its command. workers: of its server."""
    chance, made = random.Random(1), online.plan()
    with online.private_redis() as redis, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        port = redis.connection_pool.connection_kwargs["port"]
        values = {
            view.name: [
                {
                    one.name: chance.randrange(40) if one.function == "count" else chance.random() * 100
                    for one in view.features
                }
                for _ in range(online.ENTITIES)
            ]
            for view in made.views
        }
        online.feast_store(port, folder, made, values)
        (folder / "feature_store.yaml").write_text(
            "project: bench_online\nprovider: local\nregistry: registry.db\nentity_key_serialization_version: 3\n"
            f"online_store:\n  type: redis\n  connection_string: 127.0.0.1:{port}\n"
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            listens = free.getsockname()[1]
        command = [str(feast), "-c", str(folder), "serve", "-h", "127.0.0.1", "-p", str(listens), "--no-access-log",
                   "--workers", str(workers), "--max-requests", "0"]  # fmt: skip
        with (folder / "server.log").open("w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        try:
            _wait(server, listens, folder / "server.log")
            yield FeatureServer(listens, [_body(made, chance) for _ in range(500)])
        finally:
            server.terminate()
            server.wait(20)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).read()
            return
        assert server.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
        time.sleep(0.2)


def _body(made: online.Plan, chance: random.Random) -> str:
    names = ", ".join(f'"{view.name}:{feature.name}"' for view in made.views for feature in view.features)
    keys = ", ".join(f'"{key}": [{chance.randrange(online.ENTITIES)}]' for key in online.KEYS)
    return f'{{"features": [{names}], "entities": {{{keys}}}, "full_feature_names": true}}'
