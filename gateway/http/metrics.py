"""``GET /metrics``: freshness, drift, the steps of scoring, the gate and the spool as Prometheus' text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
import redis
from litestar import Request, Response, get

from gateway import waterfall
from gateway.errors import PartDownError
from gateway.http.auth import Caller
from gateway.http.drift import DriftDesk
from gateway.http.freshness import FreshnessWatch
from gateway.http.gate import Gate
from gateway.ledger.ledger import Ledger
from gateway.names import Keys
from gateway.waterfall import Steps, Waterfall
from stream_jobs.freshness.measure import prometheus

_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SCORER = "scorer"


class ServingMetrics:
    """figures: of this process; those of the scorer are in Redis. store: a redis-py client that returns bytes."""

    def __init__(self, gate: Gate, ledger: Ledger, figures: Waterfall, store: Any, keys: Keys) -> None:
        self._gate, self._ledger, self._figures, self._store, self._keys = gate, ledger, figures, store, keys

    def text(self) -> str:
        """Raises PartDownError when Redis does not answer."""
        try:
            raw = self._store.get(self._keys.waterfall(_SCORER))
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        steps: Sequence[Steps] = msgspec.json.decode(raw, type=list[Steps]) if raw else []
        gauges = (
            ("appliance_requests_under_way", "gauge", "Weight of the requests to score that are under way.",
             self._gate.under_way),
            ("appliance_requests_refused_total", "counter", "Requests to score refused with 503, being too many.",
             self._gate.refused),
            ("appliance_spool_bytes", "gauge", "Predictions by HTTP that wait on disk for Kafka.",
             self._ledger.waiting_bytes),
            ("appliance_spool_oldest_seconds", "gauge", "For how long the oldest of them has waited.",
             self._ledger.oldest_seconds),
        )  # fmt: skip
        lines = [f"# HELP {name} {told}\n# TYPE {name} {kind}\n{name} {value}\n" for name, kind, told, value in gauges]
        return waterfall.prometheus([*self._figures.steps(), *steps]) + "".join(lines)


@get("/metrics", summary="What can be measured, as Prometheus' text", tags=["console"], media_type=_MEDIA_TYPE)
async def get_metrics(
    request: Request[Caller, Any, Any],
    freshness_watch: FreshnessWatch,
    drift_desk: DriftDesk,
    serving_metrics: ServingMetrics,
) -> Response[str]:
    """Freshness, drift, histograms of the steps of scoring, refused requests, predictions that wait for Kafka.

    For a Prometheus that sends the app's id and token."""
    drift = await asyncio.to_thread(drift_desk.prometheus)
    serving = await asyncio.to_thread(serving_metrics.text)
    return Response(prometheus(freshness_watch.now()) + drift + serving, media_type=_MEDIA_TYPE)
