"""A Kafka record → a row in hand, nothing (not to be scored), or an UnusableRowError with the reason."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from appliance import position
from appliance.records import ChangeSource
from gateway.errors import Fault, InvalidError, UnusableRowError
from gateway.scoring import staleness, validate
from gateway.scoring.scorer import Candidate
from stream_jobs.plan import Plan, Service

REQUEST_ID_LENGTH = 200


class _Captured(msgspec.Struct, frozen=True):
    """A change as Debezium writes it; only what scoring needs."""

    op: str
    source: ChangeSource
    after: dict[str, Any] | None = None
    appliance_base: str = "0"


def _json(value: bytes) -> Any:
    try:
        return msgspec.json.decode(value)
    except msgspec.MsgspecError:
        pass  # Python's own reader also takes NaN and Infinity, so that the field that has one can be named
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise UnusableRowError("request.not_json", f"the request is not JSON: {error}") from error


class Intake:
    """Knows which topic feeds which service. cdc_topics, request_topics: topic → service."""

    def __init__(self, plan: Plan, request_topic: dict[str, str]) -> None:
        self._services = {service.name: service for service in plan.services}
        self._keys = {service.name: validate.key_columns(plan, service) for service in plan.services}
        self._requests = {topic: name for name, topic in request_topic.items()}
        self._captured: dict[str, list[str]] = {}
        for service in plan.services:
            self._captured.setdefault(service.event_topic, []).append(service.name)

    @property
    def topics(self) -> list[str]:
        return [*self._captured, *self._requests]

    def rows(self, topic: str, value: bytes | None, timestamp_us: int, now_us: int) -> dict[str, Candidate]:
        """Service → row to score. Raises UnusableRowError for a record that should have been one and is not.

        timestamp_us: of the Kafka record. now_us: the appliance clock, for a request without an event time.
        """
        if topic in self._requests:
            name = self._requests[topic]
            return {name: self._request(self._services[name], value, timestamp_us, now_us)}
        if value is None:
            return {}
        try:
            change = msgspec.json.decode(value, type=_Captured)
        except msgspec.MsgspecError as error:
            raise UnusableRowError("change.unreadable", f"not a captured change: {error}") from error
        wanted = [self._services[name] for name in self._captured[topic]]
        if change.source.made_by:
            return {}
        return {s.name: self._change(s, change) for s in wanted if self._is_scored(s, change.op)}

    @staticmethod
    def _is_scored(service: Service, op: str) -> bool:
        return op == "c" or (op == "u" and service.policy.score_updates)

    @staticmethod
    def _change(service: Service, change: _Captured) -> Candidate:
        row, faults = validate.captured(service, change.after or {})
        if faults:
            raise UnusableRowError("change.invalid", InvalidError("captured row", faults).message)
        try:
            at = position.of(change.source, change.appliance_base)
        except ValueError as error:
            raise UnusableRowError("change.no_position", f"source block: {error}") from error
        return Candidate(
            way="cdc",
            row=row,
            event_key=str(row[service.event_key]),
            as_of=int(row[service.event_time] or 0),
            first_attempt=change.source.ts_us,
            position=at,
            committed_at=change.source.ts_us,
        )

    def _request(self, service: Service, value: bytes | None, timestamp_us: int, now_us: int) -> Candidate:
        body = _json(value or b"")
        if not isinstance(body, dict):
            raise UnusableRowError("request.not_object", f"expected an object, got {validate.shown(body)}")
        fields = {"request_id", "row", staleness.FIELD}
        faults = [Fault(name, f"one of {sorted(fields)}", "an unknown field") for name in body.keys() - fields]
        most_ms, wrong = staleness.given(body.get(staleness.FIELD))
        faults += wrong
        request_id = body.get("request_id")
        if not isinstance(request_id, str) or not 0 < len(request_id) <= REQUEST_ID_LENGTH:
            expected = f"a text of 1 to {REQUEST_ID_LENGTH} characters"
            faults.append(Fault("request_id", expected, validate.shown(request_id)))
        row, wrong = validate.requested(service, self._keys[service.name], body.get("row"), "row")
        faults += wrong
        if faults:
            raise UnusableRowError("request.invalid", InvalidError("request", faults).message)
        as_of = row.setdefault(service.event_time, now_us)
        return Candidate(
            way="kafka",
            row=row,
            event_key=str(row[service.event_key]),
            as_of=int(as_of or 0),
            first_attempt=timestamp_us,
            request_id=str(request_id),
            max_staleness_ms=most_ms,
        )
