"""Watches Triton with real inferences and mends a model whose backend process has died.

A killed backend process fails every request for ever while Triton's own readiness says yes; only a changed file and
loading again start a new one. The loop is a process of its own: ``python -m appliance.parts.triton_watch``.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from appliance import context as contexts
from appliance import golden
from appliance.clients.triton_repository import TritonModelError, TritonRepository, TritonUnavailableError
from appliance.errors import ApplianceError, NotReadyError
from appliance.golden import Golden
from appliance.parts.base import BasePart, Context, Process
from appliance.parts.triton_server import changing

_INTERVAL_S = 1.0
_FAILURES_BEFORE_MENDING = 2
"""One failure may be a version that is just being switched; a dead backend process is mended at once."""
_DEAD = "is not healthy"
_LOAD_TIMEOUT_S = 60.0
_ALIVE_S = 15.0


class TritonWatch(BasePart):
    """The watch as a supervised process."""

    name = "triton-watch"
    needs = ("triton",)
    ready_timeout_seconds = 120

    def process(self, context: Context) -> Process:
        return Process((context.python(), "-m", "appliance.parts.triton_watch"), stop_wait_seconds=10)

    def ready(self, context: Context) -> None:
        """A round of checks ended well in the last 15 s, in a process that is still there."""
        path = _alive_file(context)
        try:
            pid = int(path.read_text())
            age_s = time.time() - path.stat().st_mtime
        except (OSError, ValueError) as error:
            raise NotReadyError("triton_watch.not_ready", f"no round of checks has ended yet: {error}") from error
        if age_s > _ALIVE_S or not Path(f"/proc/{pid}").exists():
            raise NotReadyError(
                "triton_watch.not_ready",
                f"the last good round of process {pid} was {age_s:.0f} s ago, expected at most {_ALIVE_S:.0f} s",
                hint="appliance logs triton-watch",
            )


def _alive_file(context: Context) -> Path:
    return context.run("triton-watch") / "alive"


def _log(event: str, **values: object) -> None:
    record = {"at": time.time(), "process": "triton-watch", "event": event, **values}
    sys.stderr.write(msgspec.json.encode(record).decode() + "\n")
    sys.stderr.flush()


class Watch:
    """Checks every model of the repository; mends one that has failed twice in a row."""

    def __init__(self, repository: Path, triton: TritonRepository, loader: TritonRepository) -> None:
        self._repository, self._triton, self._loader = repository, triton, loader
        self._failures: dict[str, int] = {}

    def round(self) -> bool:
        """Check each model once; True when all gave the right answers.

        Raises TritonUnavailableError when the server itself is away: that is the supervisor's to mend.
        """
        self._triton.live()
        return all([self._check(rows) for rows in golden.in_repository(self._repository)])

    def _check(self, rows: Golden) -> bool:
        try:
            golden.check(self._triton, rows)
        except (NotReadyError, TritonModelError, TritonUnavailableError) as error:
            failures = self._failures.get(rows.model, 0) + 1
            self._failures[rows.model] = failures
            _log("golden_failed", model=rows.model, version=rows.version, failures=failures, error=error.message)
            if failures >= _FAILURES_BEFORE_MENDING or _DEAD in error.message:
                self._mend(rows)
            return False
        self._failures.pop(rows.model, None)
        return True

    def _mend(self, rows: Golden) -> None:
        """Touch the model's file, so that loading starts a new backend process, and load it."""
        os.utime(self._repository / rows.model / rows.version / "model.onnx")
        try:
            with changing(self._repository):
                self._loader.load(rows.model)
        except ApplianceError as error:
            _log("mend_failed", model=rows.model, error=error.message)
            return
        self._failures.pop(rows.model, None)
        _log("mended", model=rows.model, version=rows.version)


def main() -> None:
    """Rounds until SIGTERM."""
    context = contexts.current()
    alive = _alive_file(context)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    watch = Watch(
        context.layout.model_repository, TritonRepository.of(context), TritonRepository.of(context, _LOAD_TIMEOUT_S)
    )
    while not stop.is_set():
        try:
            if watch.round():
                alive.write_text(str(os.getpid()))
        except (ApplianceError, OSError, msgspec.DecodeError) as error:
            _log("round_failed", error=str(error))
        stop.wait(_INTERVAL_S)


if __name__ == "__main__":
    main()
