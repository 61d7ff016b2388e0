"""``GET /v1/freshness``: how fresh every view is, measured in the background."""

from __future__ import annotations

import logging
import threading
from typing import Any

import redis
from confluent_kafka import Consumer, KafkaException
from litestar import Request, get

from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway.errors import PartDownError
from gateway.http.auth import Caller
from gateway.http.serving import Serving
from stream_jobs.freshness.measure import Freshness, Meter

_log = logging.getLogger("gateway")
_EVERY_SECONDS = 2.0


class FreshnessWatch:
    """Measures every 2 s in a thread of its own; ``now`` gives the last figures."""

    def __init__(self, context: Context, serving: Serving, store: Any, consumer: Consumer) -> None:
        self._meter, self._serving, self._consumer = Meter(context, store, consumer), serving, consumer
        self._last: Freshness | None = None
        self._trouble: Exception | None = None
        self._stop = threading.Event()

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                self._last, self._trouble = self._meter.measure(self._serving.plan), None
            except (KafkaException, redis.RedisError, ApplianceError, OSError) as error:
                if self._trouble is None:
                    _log.warning("freshness cannot be measured: %s", error)
                self._trouble = error
            self._stop.wait(_EVERY_SECONDS)
        self._consumer.close()

    def now(self) -> Freshness:
        """Raises PartDownError while it cannot be measured."""
        if self._trouble is not None or self._last is None:
            part = "redis" if isinstance(self._trouble, redis.RedisError) else "kafka"
            raise PartDownError(part, self._trouble or "freshness has not been measured yet")
        return self._last

    def close(self) -> None:
        self._stop.set()


@get("/v1/freshness", summary="How fresh every view is in every store", tags=["console"])
async def get_freshness(request: Request[Caller, Any, Any], freshness_watch: FreshnessWatch) -> Freshness:
    """Position reached, its age, the records still to take in and those taken in per second; at most 2 s old."""
    return freshness_watch.now()
