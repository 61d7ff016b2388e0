"""``python -m stream_jobs.parity``: compares a sample of every service's predictions on a schedule.

With the stores (`appliance parity`) and with the training set (`appliance drift`). Each comparison is the command
itself, in a process of its own with the lowest priority: its memory goes back, and an operator who repeats it does the
same. A difference is logged as an error and posted as a notice.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import msgspec
from redis.exceptions import RedisError

from appliance import alive, logs, notices, users
from appliance.clients import redis as redis_clients
from appliance.context import current
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.parity import kept

NAME = "parity"
_PARITY, _DRIFT = "parity", "drift"
_LOOK_SECONDS = 2.0
_DAY_SECONDS = 86_400


class Schedule:
    """Runs the comparisons one after the other; ``tick`` never waits for one."""

    def __init__(self, context: Context) -> None:
        self._context, self._settings = context, context.settings.parity
        self._log = logging.getLogger(NAME)
        self._minutes = {
            _PARITY: context.settings.parity.interval_minutes,
            _DRIFT: context.settings.drift.interval_minutes,
        }
        self._next = {verb: time.monotonic() + minutes * 60.0 for verb, minutes in self._minutes.items()}
        self._waiting: list[tuple[str, str]] = []
        self._running: tuple[str, str, subprocess.Popen[bytes]] | None = None

    def tick(self) -> None:
        """Take note of a comparison that has ended, and start the next one when it is time."""
        if self._running is not None:
            verb, service, process = self._running
            if process.poll() is None:
                return
            self._running = None
            self._ended(verb, service, process)
        for verb, minutes in self._minutes.items():
            if minutes and time.monotonic() >= self._next[verb]:
                self._next[verb] = time.monotonic() + minutes * 60.0
                self._waiting += [(verb, service) for service in self._services()]
        if self._waiting:
            self._start(*self._waiting.pop(0))

    def _services(self) -> list[str]:
        path = self._context.layout.plan_file
        return [service.name for service in plans.read(path).services] if path.exists() else []

    def _start(self, verb: str, service: str) -> None:
        command = ["nice", "-n", "19", sys.executable, "-m", "appliance", verb, service, "--json"]
        command += ["--sample", str(self._settings.sample_rows)] if verb == _PARITY else []
        log = self._context.run(NAME) / "answer.json"
        with log.open("wb") as answer:
            self._running = verb, service, subprocess.Popen(command, stdout=answer, stderr=subprocess.DEVNULL)

    def _ended(self, verb: str, service: str, process: subprocess.Popen[bytes]) -> None:
        raw = (self._context.run(NAME) / "answer.json").read_bytes()
        try:
            answer: dict[str, Any] = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            answer = {"error": {"message": f"exit status {process.returncode}, answer {raw[-200:]!r}"}}
        if "error" in answer:
            self._log.warning("no comparison", extra={"verb": verb, "service": service, "error": answer["error"]})
        elif verb == _PARITY:
            self._certified(service, answer)
        elif answer["findings"]:
            self._log.warning("served otherwise than learned", extra={"service": service, "found": answer["findings"]})
        else:
            self._log.info("served as learned", extra={"service": service, "rows": answer["rows"]})

    def _certified(self, service: str, answer: dict[str, Any]) -> None:
        made = answer["certificates"]
        different = {each["file"]: each["rows_different"] for each in made if each["rows_different"]}
        compared = max((each["rows_compared"] for each in made), default=0)
        if different:
            self._log.error("values served differ", extra={"service": service, "rows_different": different})
            notices.post(
                self._context.layout,
                f"parity-{service}",
                f"Features served for {service} are not those of HBase or of training ({max(different.values())} of"
                f" {compared} predictions)",
                hint=f"appliance parity show {next(iter(different))}",
            )
        elif compared:
            self._log.info("values served are the same in all stores", extra={"service": service, "rows": compared})
            notices.take_back(self._context.layout, f"parity-{service}")
        self._forget()

    def _forget(self) -> None:
        """Remove certificates without a difference that are older than ``parity.retention_days``."""
        oldest = time.time() - self._settings.retention_days * _DAY_SECONDS
        for path in kept.files(kept.folder(self._context)):
            if path.stat().st_mtime < oldest and not kept.different(path):
                path.unlink()

    def stop(self) -> None:
        if self._running is not None:
            self._running[2].terminate()
            self._running[2].wait()


def main() -> None:
    context = current()
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    log = logs.setup(NAME)
    schedule = Schedule(context)
    store = redis_clients.connect(context, users.ADMINISTRATOR)
    while not stopping.is_set():
        try:
            schedule.tick()
            alive.touch(store, context.names, NAME)
        except (ApplianceError, RedisError, OSError) as error:
            log.warning("waiting, then going on", exc_info=error)
        stopping.wait(_LOOK_SECONDS)
    schedule.stop()


if __name__ == "__main__":
    main()
