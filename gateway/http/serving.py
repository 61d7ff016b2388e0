"""What the gateway serves now: the plan and a scorer for each of its services; read again when the plan changes."""

from __future__ import annotations

import logging
import threading
from typing import Any

import redis
from confluent_kafka import KafkaException

from appliance.clients.triton import TritonClient
from appliance.clock import Clock
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway import topics
from gateway.errors import NotFoundError, PartDownError
from gateway.scoring.scorer import Scorer
from stream_jobs import plan as plans
from stream_jobs.online.view_reader import History
from stream_jobs.plan import Plan

_log = logging.getLogger("gateway")
_LOOK_SECONDS = 2.0
_NOTHING = Plan("", (), (), ())


class Serving:
    """store: a redis-py client that returns bytes. May be used by many threads."""

    def __init__(self, context: Context, store: Any, model: TritonClient, history: History | None) -> None:
        self._context, self._store, self._model, self._history = context, store, model, history
        self._clock = Clock(store, context.names.redis_clock())
        self._loaded_at = 0
        self._stop, self._looked = threading.Event(), threading.Event()
        self._trouble = ""
        self.plan = _NOTHING
        self._scorers: dict[str, Scorer] = {}

    def services(self) -> tuple[str, ...]:
        return tuple(self._scorers)

    def scorer(self, service: str) -> Scorer:
        """Raises NotFoundError when there is no such service, PartDownError when a new plan could not be taken up."""
        scorer = self._scorers.get(service)
        if scorer is None and self._trouble:
            raise PartDownError("gateway", f"its plan cannot be used: {self._trouble}")
        if scorer is None:
            raise NotFoundError(
                "service.unknown",
                f"there is no service {service!r}",
                context={"services": list(self._scorers)},
                hint="GET /v1/services",
            )
        return scorer

    def now_us(self) -> int:
        """The appliance clock. Raises PartDownError when Redis does not answer."""
        try:
            return self._clock.now_us()
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def load(self) -> None:
        """Take the plan if it has changed. Raises ApplianceError when it cannot be used; the old one then stays."""
        path = self._context.layout.plan_file
        written = path.stat().st_mtime_ns if path.exists() else 0
        if written == self._loaded_at:
            return
        plan = plans.read(path)
        topics.ensure(self._context, plan)
        scorers = {
            service.name: Scorer(self._context, plan, service.name, self._store, self._model, self._history)
            for service in plan.services
        }
        self.plan, self._scorers, self._loaded_at = plan, scorers, written
        _log.info("serving %s", ", ".join(scorers))

    def watch(self) -> None:
        """Look for a changed plan until ``close``; for a thread of its own."""
        while not self._stop.is_set():
            try:
                self.load()
                self._trouble = ""
            except (ApplianceError, KafkaException) as error:
                self._trouble = str(error)
                _log.warning("the plan cannot be used: %s", error)
            self._looked.set()
            self._stop.wait(_LOOK_SECONDS)

    def wait_loaded(self, seconds: float) -> None:
        """Wait until the plan was looked at for the first time."""
        self._looked.wait(seconds)

    def close(self) -> None:
        self._stop.set()
