"""The life of a process of this room: told to stop by SIGTERM, says that it is alive, waits when a part is away."""

from __future__ import annotations

import logging
import signal
import threading
import time
from types import FrameType

import redis

from appliance import alive
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway.errors import PartDownError
from stream_jobs import plan as plans
from stream_jobs.plan import Plan

_BEAT_SECONDS = 2.0
_LONGEST_WAIT_SECONDS = 5.0
_PLAN_LOOK_SECONDS = 2.0


class Life:
    """store: a redis-py client."""

    def __init__(self, context: Context, process: str, store: redis.Redis, log: logging.Logger) -> None:
        self._context, self._process, self._store, self._log = context, process, store, log
        self._stop = threading.Event()
        self._beaten_at = float("-inf")
        self._wait = 0.0
        self._looked_at = time.monotonic()
        self._plan_written_at = 0

    def obey_signals(self) -> None:
        """Let SIGTERM and SIGINT end the loop after its batch. From the main thread only."""

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    @property
    def going_on(self) -> bool:
        return not self._stop.is_set()

    def end(self) -> None:
        self._stop.set()

    def worked(self) -> None:
        """A unit of work is done: say so, at most every 2 s. Raises PartDownError when Redis does not answer."""
        self._wait = 0.0
        now = time.monotonic()
        if now - self._beaten_at < _BEAT_SECONDS:
            return
        try:
            alive.touch(self._store, self._context.names, self._process)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        self._beaten_at = now

    def wait_after(self, error: ApplianceError) -> None:
        """Log why work cannot go on, and wait: 0.1 s, then twice as long each time, at most 5 s."""
        self._wait = min(max(0.1, self._wait * 2), _LONGEST_WAIT_SECONDS)
        self._log.warning("waiting %.1f s: %s", self._wait, error.message, extra={"code": error.code})
        self._stop.wait(self._wait)

    def rest(self, seconds: float) -> None:
        """There is nothing to do for so long, or until told to stop."""
        self._stop.wait(seconds)

    def plan(self) -> Plan | None:
        """The plan, waited for if there is none yet; None when told to stop meanwhile."""
        path = self._context.layout.plan_file
        while self.going_on:
            try:
                if path.exists():
                    self._plan_written_at = path.stat().st_mtime_ns
                    return plans.read(path)
                self.worked()
                self._stop.wait(_PLAN_LOOK_SECONDS)
            except ApplianceError as error:
                self.wait_after(error)
        return None

    def plan_changed(self) -> bool:
        """Whether another plan has been written since ``plan``; looks every 2 s."""
        now = time.monotonic()
        if now - self._looked_at < _PLAN_LOOK_SECONDS:
            return False
        self._looked_at = now
        path = self._context.layout.plan_file
        return path.exists() and path.stat().st_mtime_ns != self._plan_written_at
