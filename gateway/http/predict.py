"""``POST /v1/services/{service}/predict``."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Any

from litestar import Request, post

from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import Prediction
from appliance.settings import Settings
from gateway.alerts.search import iso
from gateway.answers import PredictAnswer, Scored
from gateway.apps import App
from gateway.http import requests
from gateway.http.auth import Caller
from gateway.http.batches import Batches, Job, timed_out
from gateway.http.limits import Allowances
from gateway.http.openapi import PredictOperation
from gateway.http.requests import Asked
from gateway.http.serving import Serving
from gateway.ledger.ledger import Ledger
from gateway.names import Keys
from gateway.scoring.scorer import Scorer
from gateway.waterfall import Waterfall


class Predictor:
    """Answers requests to score. Belongs to the event loop's thread, but for ``close``."""

    def __init__(
        self, names: Names, settings: Settings, serving: Serving, ledger: Ledger, waterfall: Waterfall
    ) -> None:
        self._names, self._settings, self._serving = names, settings.scoring, serving
        self._ledger, self._waterfall = ledger, waterfall
        self._keys = Keys(names.tenant)
        self._allowances = Allowances(settings.limits)
        self._batches: dict[str, Batches] = {}
        self._open: dict[str, Job] = {}

    async def answer(self, service: str, app: App, body: bytes) -> PredictAnswer:
        """Raises the errors of this room that say why there is no prediction."""
        arrived = time.perf_counter_ns()
        scorer = self._serving.scorer(service)
        self._allowances.enter(app)
        try:
            asked = requests.read(scorer.service, scorer.keys, body, self._settings.max_rows_per_request)
            self._allowances.rows(app, len(asked.rows))
            job = self._job(scorer, asked, app.id, body, arrived)
            return await (self._once(job) if job.key else self._scored(job))
        finally:
            self._allowances.leave(app)

    def _job(self, scorer: Scorer, asked: Asked, app: str, body: bytes, arrived: int) -> Job:
        limit_ms = min(asked.timeout_ms or self._settings.request_timeout_ms, self._settings.request_timeout_ms)
        key = self._keys.http_request(scorer.service.name, app, asked.request_id) if asked.request_id else ""
        return Job(
            scorer=scorer,
            asked=asked,
            app=app,
            request_id=asked.request_id or str(uuid.uuid4()),
            key=key,
            body_sha256=requests.digest(body) if key else "",
            attempt_us=wall_us(),
            arrived=arrived,
            submitted=time.perf_counter_ns(),
            timeout_ms=limit_ms,
            deadline=time.monotonic() + limit_ms / 1000,
            settled=asyncio.get_running_loop().create_future(),
        )

    async def _once(self, job: Job) -> PredictAnswer:
        """One request of an id at a time: who comes meanwhile waits and gets the first one's answer."""
        while (first := self._open.get(job.key)) and not first.settled.done():
            await _until_settled(first, job)
        if raw := self._ledger.remembered(job.key):
            job.predictions, job.repeated = requests.recalled(raw, job.body_sha256), True
            return _answered(job)
        self._open[job.key] = job
        job.settled.add_done_callback(lambda _: self._closed(job))
        return await self._scored(job)

    def _closed(self, job: Job) -> None:
        if self._open.get(job.key) is job:
            del self._open[job.key]

    async def _scored(self, job: Job) -> PredictAnswer:
        """Raises RequestTimeoutError when the job's time is over; it is scored to its end all the same."""
        name = job.scorer.service.name
        batches = self._batches.get(name)
        if batches is None:
            loop = asyncio.get_running_loop()
            batches = self._batches[name] = Batches(self._names, self._ledger, self._waterfall, loop)
        batches.submit(job)
        await _until_settled(job, job)
        if job.error is not None:
            raise job.error
        return _answered(job)

    def close(self) -> None:
        for batches in self._batches.values():
            batches.close()


async def _until_settled(job: Job, waiting: Job) -> None:
    """Wait for a job as long as ``waiting`` has time."""
    await asyncio.wait((job.settled,), timeout=max(0.0, waiting.deadline - time.monotonic()))
    if not job.settled.done():
        raise timed_out(waiting)


def _shown(prediction: Prediction) -> Scored:
    p = prediction
    return Scored(p.prediction_id, p.event_key, iso(p.as_of), p.score, p.decision, p.reason, p.kind, p.features, p.cuts)


def _answered(job: Job) -> PredictAnswer:
    first = job.predictions[0]
    return PredictAnswer(
        job.scorer.service.name,
        first.request_id,
        first.model,
        first.model_version,
        job.repeated,
        [_shown(prediction) for prediction in job.predictions],
        _spent_us(job) if job.asked.explain_time else {},
    )


def _spent_us(job: Job) -> dict[str, int]:
    """The steps of this request; what a repeated one took is no step of its own."""
    now = time.perf_counter_ns()
    steps = {} if job.repeated else {**job.predictions[0].spent_us, "ledger": job.ledger_us}
    if job.delivered:
        steps["deliver"] = (now - job.delivered) // 1000
    return {**steps, "total": (now - job.arrived) // 1000}


@post(
    "/v1/services/{service:str}/predict",
    status_code=200,
    operation_class=PredictOperation,
    summary="Score rows",
    tags=["scoring"],
)
async def predict(request: Request[Caller, Any, Any], service: str, predictor: Predictor) -> PredictAnswer:
    """Score 1 to `scoring.max_rows_per_request` rows. A repeated `request_id` gets its first answer again."""
    app = request.user.as_app()
    app.may_use(service)
    return await predictor.answer(service, app, await request.body())
