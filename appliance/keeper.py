"""The keeper: mends at night what supervisord does not see. ``python -m appliance.keeper``.

- supervisord itself: the keeper is its child, so each of the two brings the other back.
- A part that runs but fails its real read or write for longer than its start may take, while all it needs is ready: it
  is started again.
- A connector or task that Kafka Connect shows as FAILED: it is started again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

import redis

from appliance import alive, lifecycle, logs, registry, users
from appliance import context as contexts
from appliance.clients import connect
from appliance.clients import redis as clients
from appliance.errors import ApplianceError
from appliance.launch import MARK, PROCESS
from appliance.parts.base import Context, Part
from appliance.supervisor import Supervisor

NAME = "keeper"
_LOOK_SECONDS = 5
_ASK_EVERY = 3
"""Looks between two rounds of asking every part."""
_ANSWER_SECONDS = 10
_PATIENCE = 1.5
"""Times a part's own ``ready_timeout_seconds``."""

_log = logs.setup(NAME)


class Patience:
    """Which parts have failed for too long. Times are in seconds of any steady clock."""

    def __init__(self) -> None:
        self._failing_since: dict[str, float] = {}

    def overdue(self, parts: Mapping[str, Part], reasons: Mapping[str, str], now: float) -> list[str]:
        """Parts to start again. reasons: name → "" if ready, else why not. A part whose needs fail is not blamed."""
        found = []
        for name, part in parts.items():
            if not reasons[name] or any(reasons.get(need) for need in part.needs):
                self._failing_since.pop(name, None)
                continue
            since = self._failing_since.setdefault(name, now)
            if now - since > _PATIENCE * part.ready_timeout_seconds:
                del self._failing_since[name]
                found.append(name)
        return found


def bring_back(context: Context) -> None:
    """supervisord is gone: start it and all that should run. The new command ends this process, as an orphan."""
    names = sorted(lifecycle.wanted(context))
    _log.error("supervisord is gone; starting it again", extra={"parts": names})
    environment = {key: value for key, value in os.environ.items() if key not in (MARK, PROCESS)}
    with (context.layout.logs / "recovery.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "appliance", "up", *names], env=environment, cwd="/",
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip


def mend(context: Context, patience: Patience) -> None:
    """One round: ask every part that should run, start again what hangs, restart failed connectors."""
    supervisor = Supervisor(context)
    states = supervisor.states()
    parts = {
        name: registry.part(name)
        for name in sorted(lifecycle.wanted(context) - {NAME})
        if name in states and states[name].running
    }
    reasons = lifecycle.asked(context, parts, _ANSWER_SECONDS)
    for name, reason in reasons.items():
        if reason:
            _log.warning("%s is not ready: %s", name, reason)
        else:
            lifecycle.note_ready(context, name, states[name].pid)
    for name in patience.overdue(parts, reasons, time.monotonic()):
        _log.error("%s has not been ready for too long; starting it again", name)
        supervisor.end(name)
        supervisor.begin(name)
    if "connect" in parts and not reasons["connect"]:
        connect.restart_failed(context)


def main() -> None:
    """Until SIGTERM."""
    context, stopping, patience = contexts.current(), threading.Event(), Patience()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    parent = os.getppid()
    store = clients.connect(context, users.ADMINISTRATOR)
    look = 0
    while not stopping.wait(_LOOK_SECONDS if look else 0):
        if os.getppid() != parent:
            bring_back(context)
            return
        try:
            alive.touch(store, context.names, NAME)
            if look % _ASK_EVERY == 0:
                mend(context, patience)
        except (ApplianceError, redis.RedisError, OSError) as error:
            _log.warning("a round of looking failed", exc_info=error)
        look += 1


if __name__ == "__main__":
    main()
