"""The one scorer: rows → features → model → decision → predictions. HTTP, Kafka and CDC all come through here.

    reading = scorer.read(candidates)        # one round trip to Redis, also for what the caller wants to know besides
    predictions = scorer.predict(reading)    # one call to Triton

What a service needs is worked out once, when the scorer is made: a new plan brings new scorers.
"""

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
from gateway.scoring import identity, policy, staleness, validate
from gateway.scoring.features import Found, ServiceFeatures
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


@dataclass(frozen=True)
class Reading:
    """The features read for some rows. also: values of the further keys. spent_us: how long it took."""

    rows: Sequence[Candidate]
    found: Found
    also: Sequence[bytes | None]
    spent_us: int


class Scorer:
    """Scores rows of one service. May be used by many threads at once. keys: see ``validate.key_columns``."""

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
        self.keys = validate.key_columns(plan, self.service)
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

    def request_features(self, row: Mapping[str, Value]) -> dict[str, FeatureValue]:
        """The features that come of the row itself. Raises UnusableRowError when one cannot be computed of it."""
        return self._features.requested(row)

    def read(
        self,
        rows: Sequence[Candidate],
        requested: Sequence[Mapping[str, FeatureValue]] | None = None,
        also: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Reading:
        """The features of some rows, in one round trip to Redis, which brings the appliance clock too.

        requested: ``request_features`` of each row where the caller has computed them. also: further Redis keys.
        deadline: of ``time.monotonic``. Raises PartDownError when Redis does not answer, and UnusableRowError when one
        of the rows cannot be turned into a vector.
        """
        started = time.perf_counter_ns()
        if requested is None:
            requested = [self._features.requested(row.row) for row in rows]
        hands = [RowInHand(row.as_of, row.row, row.position or None) for row in rows]
        try:
            found = self._features.read(hands, requested, (self._clock.key, *also), deadline)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        self._clock.note(found.also[0])
        return Reading(rows, found, found.also[1:], (time.perf_counter_ns() - started) // 1000)

    def predict(
        self,
        reading: Reading,
        places: Sequence[int] | None = None,
        spent_us: Sequence[Mapping[str, int]] = (),
        deadline: float | None = None,
    ) -> list[Prediction]:
        """Predictions of the rows at ``places`` (all), in that order.

        spent_us: of each of them, what it has already waited for. deadline: of ``time.monotonic``. Raises PartDownError
        when Redis or Triton does not answer, and UnusableRowError when a feature is no number.
        """
        started = time.perf_counter_ns()
        matrix = reading.found.matrix()
        if places is None:
            places = range(len(reading.rows))
        elif len(places) < len(reading.rows):
            matrix = matrix[list(places)]
        rows = [reading.rows[place] for place in places]
        try:
            scores, version = self._model.infer(self.service.model, matrix, deadline)
            inferred = time.perf_counter_ns()
            numbers: list[float] = scores.tolist()
            decided = policy.decide(
                self.service.policy, numbers, [row.event_key for row in rows], self._capacity, self._clock.now_us()
            )
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        except TritonUnavailableError as error:
            raise PartDownError("triton", error.message) from error
        spent = {
            "features": reading.spent_us,
            "model": (inferred - started) // 1000,
            "decision": (time.perf_counter_ns() - inferred) // 1000,
        }
        now = wall_us()
        waited: Sequence[Mapping[str, int]] = spent_us or [{}] * len(rows)
        return [
            self._prediction(row, reading.found.vector(place), score, decision, version, {**before, **spent}, now)
            for place, row, score, decision, before in zip(places, rows, numbers, decided, waited, strict=True)
        ]

    def score(self, rows: Sequence[Candidate], spent_us: Mapping[str, int] | None = None) -> list[Prediction]:
        """A prediction for each row, in their order.

        spent_us: what the rows have already waited for. Raises what ``read`` and ``predict`` raise, and StaleError for
        a row whose features are older than it accepts.
        """
        reading = self.read(rows)
        for row in rows:
            staleness.check(reading.found.ages_ms, row.max_staleness_ms)
        return self.predict(reading, spent_us=[spent_us or {}] * len(rows))

    def _prediction(
        self,
        row: Candidate,
        vector: Vector,
        score: float,
        decided: policy.Decided,
        version: str,
        spent_us: dict[str, int],
        scored_at: int,
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
            scored_at=scored_at,
            spent_us=spent_us,
        )


def alert_of(prediction: Prediction) -> Alert | None:
    """The alert a prediction raises, if it does."""
    if prediction.decision == "approve":
        return None
    return Alert(identity.alert_id(prediction.tenant, prediction.service, prediction.event_key), prediction)
