"""The one scorer: rows → features → model → decision → predictions. HTTP, Kafka and CDC all come through here."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import redis

from appliance.clients.triton import TritonClient
from appliance.clients.triton_repository import TritonUnavailableError
from appliance.clock import Clock, wall_us
from appliance.parts.base import Context
from appliance.records import Alert, FeatureValue, Prediction, Value, Way
from gateway.errors import PartDownError
from gateway.scoring import identity, policy, staleness
from gateway.scoring.features import ServiceFeatures, matrix
from gateway.scoring.plain import load
from stream_jobs.online.reader import RowInHand, Vector
from stream_jobs.online.view_reader import History
from stream_jobs.plan import Plan


@dataclass(frozen=True)
class Candidate:
    """A row to score, in one form (see ``validate``), with what its prediction must say of it.

    as_of, committed_at, first_attempt: µs UTC; committed_at is 0 when the row is not committed (HTTP, Kafka).
    position: of a captured row, else "". request_id and app: of a request, else "". max_staleness_ms: the greatest age
    of the features that a request accepts, None for any.
    """

    way: Way
    row: dict[str, Value]
    event_key: str
    as_of: int
    first_attempt: int
    position: str = ""
    committed_at: int = 0
    request_id: str = ""
    app: str = ""
    max_staleness_ms: int | None = None


class Scorer:
    """Scores rows of one service. May be used by many threads at once."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        service: str,
        store: redis.Redis,
        model: TritonClient,
        history: History | None = None,
    ) -> None:
        self.service = plan.service(service)
        self._tenant = context.installation.tenant
        self._features = ServiceFeatures(context.names, plan, self.service, store, history)
        self._model = model
        self._clock = Clock(store, context.names.redis_clock())
        zone = ZoneInfo(plan.time_zone)
        self._capacity = policy.ReviewCapacity(store, self._tenant, service, zone)
        self._explain: policy.Explain = load(self.service.policy.explain)

    def now_us(self) -> int:
        """The appliance clock. Raises PartDownError when Redis does not answer."""
        try:
            return self._clock.now_us()
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def caught_up(self, position: str) -> bool:
        """Whether the features have reached a position. Raises PartDownError when Redis does not answer."""
        try:
            return self._features.caught_up(position)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def entity_features(self, keys: Mapping[str, str], as_of_us: int) -> dict[str, FeatureValue]:
        """The windowed features of the entities that join keys name, at the position reached, no row in hand."""
        try:
            return self._features.of_entities(keys, as_of_us)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def score(self, rows: Sequence[Candidate], spent_us: dict[str, int] | None = None) -> list[Prediction]:
        """A prediction for each row, in their order.

        spent_us: what the rows have already waited for. Raises PartDownError when Redis or Triton does not answer and
        UnusableRowError when a row cannot be turned into a vector, StaleError for one older than it accepts.
        """
        spent = dict(spent_us or {})
        try:
            started = time.perf_counter_ns()
            vectors = self._features.read([RowInHand(row.as_of, row.row, row.position or None) for row in rows])
            for row, vector in zip(rows, vectors, strict=True):
                staleness.check(vector, row.max_staleness_ms)
            read = time.perf_counter_ns()
            scores, version = self._model.infer(self.service.model, matrix(self.service, vectors))
            inferred = time.perf_counter_ns()
            decided = policy.decide(
                self.service.policy,
                [float(score) for score in scores],
                [row.event_key for row in rows],
                self._capacity,
                self._clock.now_us(),
            )
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        except TritonUnavailableError as error:
            raise PartDownError("triton", error.message) from error
        spent |= {
            "features": (read - started) // 1000,
            "model": (inferred - read) // 1000,
            "decision": (time.perf_counter_ns() - inferred) // 1000,
        }
        return [
            self._prediction(row, vector, float(score), decision, version, spent)
            for row, vector, score, decision in zip(rows, vectors, scores, decided, strict=True)
        ]

    def _prediction(
        self,
        row: Candidate,
        vector: Vector,
        score: float,
        decided: policy.Decided,
        version: str,
        spent_us: dict[str, int],
    ) -> Prediction:
        service = self.service
        kind, text = "", ""
        if decided.decision != "approve":
            values = {name: feature.value for name, feature in vector.features.items()}
            kind, text = policy.explained(service.policy, self._explain, row.row, values, score)
        return Prediction(
            prediction_id=identity.prediction_id(
                self._tenant, service.name, row.way, row.event_key, row.position or row.request_id, row.first_attempt
            ),
            tenant=self._tenant,
            service=service.name,
            way=row.way,
            event_key=row.event_key,
            source_position=row.position,
            request_id=row.request_id,
            app=row.app,
            as_of=row.as_of,
            row=row.row,
            features=vector.features,
            cuts=vector.cuts,
            reached=vector.reached,
            behind=vector.behind,
            score=score,
            decision=decided.decision,
            reason=f"{text}; {decided.reason}" if text else decided.reason,
            kind=kind,
            model=service.model,
            model_version=version,
            definition_hash=service.definition_hash,
            committed_at=row.committed_at,
            scored_at=wall_us(),
            spent_us=spent_us,
        )


def alert_of(prediction: Prediction) -> Alert | None:
    """The alert a prediction raises, if it does."""
    if prediction.decision == "approve":
        return None
    return Alert(identity.alert_id(prediction.tenant, prediction.service, prediction.event_key), prediction)
