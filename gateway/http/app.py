"""The Litestar application, put together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from confluent_kafka import Producer
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme

from appliance.clients import kafka, opensearch
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.parts.base import Context
from gateway import steady
from gateway.apps import Apps
from gateway.console import learning, pages
from gateway.console import models as model_pages
from gateway.console.sessions import Sessions
from gateway.counts import Counts
from gateway.feedback import FeedbackDesk
from gateway.http import (
    alerts,
    docs,
    drift,
    feedback,
    freshness,
    models,
    predict,
    problems,
    services,
    standings,
    status,
)
from gateway.http import metrics as metrics_page
from gateway.http.auth import Authentication
from gateway.http.gate import Gate
from gateway.http.liveness import Liveness
from gateway.http.metrics import ServingMetrics
from gateway.http.pressure import Pressure
from gateway.http.serving import Serving
from gateway.ledger.ledger import Ledger
from gateway.ledger.spool import Spool
from gateway.names import Keys
from gateway.waterfall import Waterfall
from models.registry import Registry
from stream_jobs.online.hbase_read import HBaseHistory

USER = "gateway"
_MOST_BODY_BYTES = 8 << 20
_SEARCH_SECONDS = 10.0
_FIRST_LOOK_SECONDS = 10.0


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Feature appliance",
        version=version("feature-appliance"),
        description="Scores rows, finds alerts, says whether the system runs. Errors are RFC 9457 problem details.",
        path="/v1/schema",
        use_handler_docstrings=True,
        render_plugins=[docs.PagePlugin()],
        security=[{"app": [], "token": []}],
        components=Components(
            security_schemes={
                "app": SecurityScheme(type="apiKey", name="X-App-Id", security_scheme_in="header"),
                "token": SecurityScheme(type="http", scheme="bearer"),
            }
        ),
    )


def _ledger(context: Context) -> Ledger:
    """What it cannot send yet waits in ``data/gateway/spool``."""
    settings = context.settings.scoring
    spool = Spool(context.layout.data / USER / "spool", settings.spool_max_mib * 2**20)
    store = redis_clients.connect(context, USER)

    def producer() -> Producer:
        return kafka.producer(context, USER, acks="all", **{"linger.ms": 5, "message.timeout.ms": 0})

    return Ledger(spool, producer, store, settings.idempotency_hours * 3600)


def build(context: Context, gate: Gate) -> Litestar:
    """The application of one appliance. It connects when it starts, and serves as long as its parts answer.

    Each part is given less time than the request as a whole, so that the answer can name the one that does not answer.
    """
    names, settings = context.names, context.settings
    limit_ms = settings.scoring.request_timeout_ms
    store = redis_clients.connect(context, USER, timeout_seconds=limit_ms / 4000)
    model = TritonClient.of(context, limit_ms // 2)
    serving = Serving(context, store, model, HBaseHistory.of(context))
    ledger = _ledger(context)
    figures = Waterfall()
    predictor = predict.Predictor(names, settings, serving, ledger, figures)
    pressure = Pressure(gate, store, Keys(names.tenant))
    metrics = ServingMetrics(gate, ledger, figures, store, Keys(names.tenant))
    statements = kafka.producer(context, USER, acks="all", **{"linger.ms": 0, "message.timeout.ms": limit_ms * 3 // 4})
    feedback_desk = FeedbackDesk(statements, names, limit_ms)
    desk = alerts.AlertDesk(opensearch.connect(context, USER, _SEARCH_SECONDS), names)
    watch = status.Watch(context)
    liveness = Liveness(context, USER, store)
    seer = kafka.consumer(context, USER, f"{names.tenant}.{USER}.freshness")
    freshness_watch = freshness.FreshnessWatch(context, serving, store, seer)
    sessions = Sessions(store, Keys(names.tenant), settings.console.session_hours)
    console = pages.Console(context, sessions)

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        threads = [
            threading.Thread(target=run, daemon=True)
            for run in (serving.watch, liveness.run, freshness_watch.run, pressure.run)
        ]
        for thread in threads:
            thread.start()
        watch.start()
        await asyncio.to_thread(serving.wait_loaded, _FIRST_LOOK_SECONDS)
        steady.settle()
        yield
        serving.close()
        liveness.close()
        freshness_watch.close()
        watch.close()
        pressure.close()
        predictor.close()
        ledger.close()
        feedback_desk.close()
        model.close()

    def given(value: Any) -> Provide:
        return Provide(lambda: value, sync_to_thread=False)

    return Litestar(
        route_handlers=[
            predict.predict,
            feedback.give_feedback,
            standings.get_standings,
            standings.post_act,
            services.get_services,
            services.get_features,
            alerts.get_alerts,
            alerts.get_summary,
            status.get_status,
            freshness.get_freshness,
            drift.get_drift,
            metrics_page.get_metrics,
            status.health,
            models.get_models,
            models.get_version,
            models.get_plot,
            *pages.HANDLERS,
            *learning.HANDLERS,
            *model_pages.HANDLERS,
        ],
        dependencies={
            "serving": given(serving),
            "predictor": given(predictor),
            "desk": given(desk),
            "feedback_desk": given(feedback_desk),
            "appliance": given(context),
            "watch": given(watch),
            "serving_metrics": given(metrics),
            "freshness_watch": given(freshness_watch),
            "drift_desk": given(drift.DriftDesk(context)),
            "counts": Provide(
                lambda: Counts.of(store, names.tenant, serving.plan, settings.alerts.retention_days),
                sync_to_thread=False,
            ),
            "console": given(console),
            "registry": given(Registry.of(context)),
        },
        middleware=[DefineMiddleware(Authentication, exclude_from_auth_key="exclude_from_auth")],
        exception_handlers=problems.HANDLERS,
        state=State({"apps": Apps(context), "sessions": sessions, "predictor": predictor}),
        openapi_config=_openapi(),
        request_max_body_size=_MOST_BODY_BYTES,
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
    )
