"""Redis 7 (Debian): append-only file, ACL users, nothing evicted, loopback only."""

from __future__ import annotations

import hashlib

from redis.exceptions import RedisError

from appliance import users
from appliance.clients import redis as clients
from appliance.errors import NotReadyError
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port
from appliance.supervisor import write_private

_SERVER = "/usr/bin/redis-server"

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
protected-mode yes
daemonize no
set-proc-title no
dir {data}
aclfile {acl}
appendonly yes
appendfsync everysec
aof-use-rdb-preamble yes
save ""
maxmemory {max_mib}mb
maxmemory-policy noeviction
tcp-keepalive 60
set-proc-title no
"""


class Redis(BasePart):
    """Ready when a key can be written and read back."""

    name = "redis"
    ready_timeout_seconds = 300
    listens = Port.REDIS

    def prepare(self, context: Context) -> None:
        folder = context.run(self.name)
        write_private(folder / "users.acl", acl(context))
        write_private(
            folder / "redis.conf",
            _CONFIGURATION.format(
                port=context.port(Port.REDIS), data=context.data(self.name), acl=folder / "users.acl",
                max_mib=context.settings.memory.redis_max_mib,
            ),
        )  # fmt: skip

    def process(self, context: Context) -> Process:
        return Process((_SERVER, str(context.run(self.name) / "redis.conf")), directory=context.data(self.name))

    def ready(self, context: Context) -> None:
        key = f"{context.installation.tenant}:ready"
        try:
            with clients.connect(context, users.ADMINISTRATOR, timeout_seconds=2) as client:
                client.set(key, b"yes", ex=60)
                if client.get(key) != b"yes":
                    raise NotReadyError("redis.not_ready", f"Redis lost the key {key} just written")
        except RedisError as error:
            raise NotReadyError("redis.not_ready", f"Redis does not take a write: {error}") from error

    def provision(self, context: Context) -> None:
        """Let a Redis that runs already know the users written by ``prepare``."""
        write_private(context.run(self.name) / "users.acl", acl(context))
        with clients.connect(context, users.ADMINISTRATOR) as client:
            client.acl_load()


def acl(context: Context) -> str:
    """The ACL file: passwords as SHA-256; our processes see the tenant's keys only and cannot administer.

    ``default`` is off, so nobody can log in as it, but it keeps every right: Redis replays its append-only file as this
    user, and without rights every MULTI and every script's effect would be lost at a restart.
    """
    tenant = context.installation.tenant
    everything = "~* &* +@all"
    lines = [
        f"user default off resetpass {everything}",
        f"user {users.ADMINISTRATOR} on #{_digest(context, users.ADMINISTRATOR)} {everything}",
    ]
    may = f"~{tenant}:* &{tenant}:* +@all -@admin -@dangerous +info"
    lines += [f"user {user} on #{_digest(context, user)} {may}" for user in users.OURS]
    return "\n".join(lines) + "\n"


def _digest(context: Context, user: str) -> str:
    return hashlib.sha256(context.secrets.get(f"redis.{user}").encode()).hexdigest()
