"""``POST /v1/services/{service}/predict``."""

from __future__ import annotations

import asyncio
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from litestar import Request, post

from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import Prediction
from appliance.settings import Settings
from gateway.alerts.search import iso
from gateway.answers import PredictAnswer, Scored
from gateway.errors import RequestTimeoutError
from gateway.http import requests
from gateway.http.auth import Caller
from gateway.http.openapi import PredictOperation
from gateway.http.publisher import Publisher
from gateway.http.serving import Serving
from gateway.names import Keys
from gateway.scoring import validate
from gateway.scoring.scorer import Candidate, Scorer


def _shown(prediction: Prediction) -> Scored:
    p = prediction
    return Scored(p.prediction_id, p.event_key, iso(p.as_of), p.score, p.decision, p.reason, p.kind, p.features, p.cuts)


class Predictor:
    """Scores the rows of API requests in a few threads."""

    _threads = 16

    def __init__(self, names: Names, settings: Settings, serving: Serving, publisher: Publisher, store: Any) -> None:
        self._settings, self._serving, self._publisher = settings.scoring, serving, publisher
        self._keys = Keys(names.tenant)
        self._memory = requests.Memory(store, settings.scoring.idempotency_hours)
        self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="predict")

    async def answer(self, service: str, app: str, body: bytes) -> PredictAnswer:
        """Raises the errors of this room that say why there is no prediction."""
        work = asyncio.get_running_loop().run_in_executor(self._pool, self._answer, service, app, body)
        limit = self._settings.request_timeout_ms
        try:
            return await asyncio.wait_for(work, limit / 1000)
        except TimeoutError as error:
            raise RequestTimeoutError(
                "request.timeout", f"no prediction within {limit} ms", context={"request_timeout_ms": limit},
                hint="send fewer rows, or the same request_id again: it is scored once",
            ) from error  # fmt: skip

    def _answer(self, service: str, app: str, body: bytes) -> PredictAnswer:
        scorer = self._serving.scorer(service)
        keys = validate.key_columns(self._serving.plan, scorer.service)
        asked = requests.read(scorer.service, keys, body, self._settings.max_rows_per_request)
        if not asked.request_id:
            predictions = self._score(scorer, asked, app, str(uuid.uuid4()))
            self._publisher.publish(predictions)
            return _answered(scorer, predictions, repeated=False)
        key = self._keys.http_request(service, app, asked.request_id)
        with self._memory.alone(key):
            before = self._memory.recall(key, body)
            if before is not None and before.published:
                return _answered(scorer, before.predictions, repeated=True)
            predictions = before.predictions if before else self._score(scorer, asked, app, asked.request_id)
            if before is None:
                self._memory.keep(key, body, predictions, published=False)
            self._publisher.publish(predictions)
            self._memory.keep(key, body, predictions, published=True)
        return _answered(scorer, predictions, repeated=before is not None)

    def _score(self, scorer: Scorer, asked: requests.Asked, app: str, request_id: str) -> list[Prediction]:
        now, attempt = scorer.now_us(), wall_us()
        service = scorer.service
        rows = []
        for row in asked.rows:
            as_of = row.setdefault(service.event_time, now)
            rows.append(
                Candidate(
                    way="http",
                    row=row,
                    event_key=str(row[service.event_key]),
                    as_of=int(as_of or 0),
                    first_attempt=attempt,
                    request_id=request_id,
                    app=app,
                    max_staleness_ms=asked.max_staleness_ms,
                )
            )
        return scorer.score(rows)

    def close(self) -> None:
        self._pool.shutdown()


def _answered(scorer: Scorer, predictions: list[Prediction], *, repeated: bool) -> PredictAnswer:
    first = predictions[0]
    return PredictAnswer(
        scorer.service.name,
        first.request_id,
        first.model,
        first.model_version,
        repeated,
        [_shown(prediction) for prediction in predictions],
    )


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
    return await predictor.answer(service, app.id, await request.body())
