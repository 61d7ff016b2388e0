"""How our own processes prove that they work: a key in Redis, renewed after each real unit of work (idle polls too)."""

from __future__ import annotations

import os

import redis

from appliance import users
from appliance.clients import redis as clients
from appliance.errors import NotReadyError
from appliance.names import Names
from appliance.parts.base import Context
from appliance.processes import tree
from appliance.supervisor import Supervisor

TTL_SECONDS = 15


def touch(store: redis.Redis, names: Names, process: str) -> None:
    """Say that this process has just done a unit of work. Raises redis.RedisError."""
    store.set(names.redis_alive(process), str(os.getpid()), ex=TTL_SECONDS)


def check(context: Context, process: str) -> None:
    """Raises NotReadyError unless the process now supervised (or a child of it) touched its key lately."""
    state = Supervisor(context).state(process)
    if state is None or not state.pid:
        raise NotReadyError("process.down", f"{process} does not run", hint=f"appliance up {process}")
    try:
        with clients.connect(context, users.ADMINISTRATOR, timeout_seconds=2) as store:
            value = store.get(context.names.redis_alive(process))
    except redis.RedisError as error:
        raise NotReadyError("redis.not_ready", f"cannot ask Redis whether {process} works: {error}") from error
    if value is None:
        raise NotReadyError(
            "process.idle", f"{process} (pid {state.pid}) has done no unit of work in the last {TTL_SECONDS} s",
            hint=f"appliance logs {process}",
        )  # fmt: skip
    if int(value) not in tree(state.pid):
        raise NotReadyError(
            "process.other",
            f"{process} (pid {state.pid}) has done no unit of work since it started; pid {int(value)} did",
        )
