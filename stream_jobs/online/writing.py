"""What the writers share: their life from start to SIGTERM, with stores that may be away for a while."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

from confluent_kafka import KafkaException
from redis.exceptions import RedisError

from appliance import alive, logs
from appliance.clients import redis as redis_clients
from appliance.context import current
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.plan import Plan

_LOOK_SECONDS = 1.0
_ALIVE_SECONDS = 2.0
_SHORTEST_BACKOFF_SECONDS = 0.1
_LONGEST_BACKOFF_SECONDS = 5.0


class Session(Protocol):
    """Connections to the stores and a plan. Closed and made anew after any failure; begins where the stores stand."""

    def step(self) -> int:
        """Move one batch; returns how many records it had. Raises a failure of a store."""

    def whole(self) -> bool:
        """Whether every topic of the plan existed when the session began."""

    def close(self) -> None: ...


def plan_changed(context: Context) -> object:
    """Another value whenever the plan has been written."""
    return context.layout.plan_file.stat().st_mtime_ns


class Writer:
    """Runs sessions of one kind until SIGTERM or SIGINT: one after the other, a new one when ``changed`` differs."""

    def __init__(
        self,
        name: str,
        session: Callable[[Context, Plan], Session],
        failures: tuple[type[Exception], ...] = (),
        changed: Callable[[Context], object] = plan_changed,
    ) -> None:
        self._name, self._session, self._changed = name, session, changed
        self._failures: tuple[type[Exception], ...] = (RedisError, KafkaException, *failures)
        self._context = current()
        self._log = logs.setup(name)
        self._stop = threading.Event()
        self._redis = redis_clients.connect(self._context, name)
        self._alive_at = 0.0
        self._backoff = _SHORTEST_BACKOFF_SECONDS

    def run(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        while not self._stop.is_set():
            try:
                if self._context.layout.plan_file.exists():
                    self._serve()
                else:
                    self._touch()
                    self._stop.wait(_LOOK_SECONDS)
            except self._failures as error:
                self._log.warning(f"a store is away, trying again in {self._backoff:.1f} s: {error!r}")
                self._stop.wait(self._backoff)
                self._backoff = min(2 * self._backoff, _LONGEST_BACKOFF_SECONDS)
        self._log.info("stopped")

    def _serve(self) -> None:
        """One session: until something has changed, a topic that was missing may have come, or it is time to stop."""
        changed = self._changed(self._context)
        plan = plans.read(self._context.layout.plan_file)
        session = self._session(self._context, plan)
        try:
            whole, looked_at = session.whole(), time.monotonic()
            if whole:
                self._log.info("writing", extra={"views": [view.edits_topic for view in plan.computed]})
            while not self._stop.is_set():
                session.step()
                self._touch()
                if time.monotonic() - looked_at >= _LOOK_SECONDS:
                    looked_at = time.monotonic()
                    if not whole or self._changed(self._context) != changed:
                        return
        finally:
            session.close()

    def _touch(self) -> None:
        if time.monotonic() - self._alive_at >= _ALIVE_SECONDS:
            alive.touch(self._redis, self._context.names, self._name)
            self._alive_at = time.monotonic()
            self._backoff = _SHORTEST_BACKOFF_SECONDS
