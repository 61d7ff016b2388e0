"""Rounds of the learning loop, each in a process of its own, one at a time."""

from __future__ import annotations

import logging
import subprocess
import sys
import time

_log = logging.getLogger("learner")


class Rounds:
    """``tick`` starts a round when it is time, and logs what the last one has found. interval 0: none."""

    def __init__(self, interval_minutes: int) -> None:
        self._interval_seconds = interval_minutes * 60
        self._started = time.monotonic()
        self._child: subprocess.Popen[str] | None = None

    def tick(self) -> None:
        if self._child is not None:
            if self._child.poll() is None:
                return
            assert self._child.stdout is not None
            for line in self._child.stdout.read().splitlines():
                _log.info("round: %s", line)
            if self._child.returncode:
                _log.error("a round of the learning loop failed", extra={"exit_status": self._child.returncode})
            self._child = None
        if self._interval_seconds and time.monotonic() - self._started >= self._interval_seconds:
            self._started = time.monotonic()
            self._child = subprocess.Popen(
                (sys.executable, "-m", "models.learning.round"),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
            )

    def stop(self) -> None:
        """End a running one: the next begins from what is stored."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()
