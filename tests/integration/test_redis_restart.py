"""Redis replays transactions and scripts of its append-only file after kill -9; nobody enters as ``default``."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
import redis

from appliance import users
from appliance.clients import redis as clients
from appliance.parts.base import Context
from appliance.parts.redis import acl
from tests import redis_server

pytestmark = pytest.mark.integration


def _start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """With the appliance's ACL and its append-only file, each write of which is on disk when it is acknowledged.

    The appliance's own says ``everysec`` and may lose its last moments (ADR 0003); what is tested is the replay.
    """
    return redis_server.start(
        folder, port, aclfile=str(folder / "users.acl"), appendonly="yes", appendfsync="always"
    )  # fmt: skip


def test_transactions_and_scripts_survive_kill_9(live: Context, tmp_path: Path) -> None:
    (tmp_path / "users.acl").write_text(acl(live))
    port = redis_server.free_port()
    login = {"username": "alerter", "password": live.secrets.get("redis.alerter")}
    server = _start(tmp_path, port)
    try:
        with redis.Redis(port=port, **login) as store:
            pipe = store.pipeline(transaction=True)
            pipe.set("main:test:a", 1).hincrby("main:test:b", "n", 2).execute()
            store.register_script("redis.call('SET', KEYS[1], 1) redis.call('SET', KEYS[2], 2)")(
                keys=["main:test:c", "main:test:d"]
            )
        os.kill(server.pid, signal.SIGKILL)
        server.wait()
        server = _start(tmp_path, port)
        with redis.Redis(port=port, **login) as store:
            assert store.mget("main:test:a", "main:test:c", "main:test:d") == [b"1", b"1", b"2"]
            assert store.hgetall("main:test:b") == {b"n": b"2"}
    finally:
        server.kill()
        server.wait()


def test_nobody_enters_as_default(live: Context) -> None:
    with clients.connect(live, users.ADMINISTRATOR) as store:
        address = store.connection_pool.connection_kwargs
    with redis.Redis(host=address["host"], port=address["port"]) as anonymous, pytest.raises(redis.AuthenticationError):
        anonymous.get("main:clock")
    for password in ("", "default"):
        login = {"username": "default", "password": password or None}
        stranger = redis.Redis(host=address["host"], port=address["port"], **login)
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.get("main:clock")
