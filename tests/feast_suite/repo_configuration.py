"""Our stores as Feast's suites want them named: ``FULL_REPO_CONFIGS_MODULE`` is this module, read in Feast's checkout.

The offline store is our own over parquet and over Delta files; the online store is our own over a Redis server that is
started here, below a home folder made for it, under the name of the store whose tests are to be run on it
(``FEAST_SUITE_ONLINE_AS``: redis, sqlite).
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import redis

from appliance import users
from appliance.clients import redis as redis_clients
from appliance.context import current
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.ports import Port
from stream_jobs.offline.store import ApplianceOfflineStoreConfig
from tests.universal.feature_repos.universal.data_sources.file import DeltaFileSourceCreator, FileDataSourceCreator
from tests.universal.feature_repos.universal.online_store_creator import OnlineStoreCreator

_START_SECONDS = 60.0


class ApplianceFilesCreator(FileDataSourceCreator):  # type: ignore[misc]
    """Parquet files."""

    def create_offline_store_config(self) -> ApplianceOfflineStoreConfig:
        _home()
        return ApplianceOfflineStoreConfig(memory_mib=256)


class ApplianceDeltaCreator(DeltaFileSourceCreator):  # type: ignore[misc]
    """Delta tables."""

    def create_offline_store_config(self) -> ApplianceOfflineStoreConfig:
        _home()
        return ApplianceOfflineStoreConfig(memory_mib=256)


class ApplianceRedisCreator(OnlineStoreCreator):  # type: ignore[misc]
    """One Redis server for all tests of a process; each test's store takes its own keys out."""

    _server: subprocess.Popen[bytes] | None = None

    def create_online_store(self) -> dict[str, Any]:
        _home()
        if ApplianceRedisCreator._server is None:
            ApplianceRedisCreator._server = _start_redis()
        return {"type": "stream_jobs.online.feast_store.ApplianceOnlineStore"}

    def teardown(self) -> None:
        redis_clients.connect(current(), users.ADMINISTRATOR).flushall()


def _home() -> None:
    """A home with an installation and a port base, once a process."""
    if os.environ.get("APPLIANCE_HOME"):
        return
    home = Path(tempfile.mkdtemp(prefix="feast-suite-"))
    os.environ["APPLIANCE_HOME"] = str(home)
    layout = Layout.below(home)
    layout.etc.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        base = free.getsockname()[1] - Port.REDIS
    layout.installation_file.write_bytes(
        msgspec.json.encode(Installation("0", base, "root", "main", "feast_suite", "", {}, {}))
    )


def _start_redis() -> subprocess.Popen[bytes]:
    context = current()
    password = context.secrets.get(f"redis.{users.ADMINISTRATOR}")
    server = subprocess.Popen(
        ["redis-server", "--port", str(context.port(Port.REDIS)), "--bind", "127.0.0.1", "--save", "",
         "--user", users.ADMINISTRATOR, "on", f">{password}", "~*", "&*", "+@all"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            redis_clients.connect(context, users.ADMINISTRATOR).ping()
            return server
        except redis.RedisError:
            if time.monotonic() > end:
                server.kill()
                raise
            time.sleep(0.1)


AVAILABLE_OFFLINE_STORES = [("local", ApplianceFilesCreator), ("local", ApplianceDeltaCreator)]
AVAILABLE_ONLINE_STORES: dict[str, tuple[Any, Any]] = {
    os.environ.get("FEAST_SUITE_ONLINE_AS", "redis"): (
        {"type": "stream_jobs.online.feast_store.ApplianceOnlineStore"},
        ApplianceRedisCreator,
    )
}
