"""What the API is asked to score: the body, every wrong field of it, and what was answered to it before."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import redis

from appliance.records import Prediction, Value
from gateway.errors import ConflictError, Fault, InvalidError, MalformedError, PartDownError, TooLargeError
from gateway.scorer.intake import REQUEST_ID_LENGTH
from gateway.scoring import staleness, validate
from stream_jobs.plan import Service

_FIELDS = frozenset({"rows", "request_id", staleness.FIELD})


@dataclass(frozen=True)
class Asked:
    """rows: in one form. request_id: "" when the caller gave none. max_staleness_ms: None when any age will do."""

    rows: list[dict[str, Value]]
    request_id: str
    max_staleness_ms: int | None = None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.MsgspecError as error:
        problem = error
    try:
        return json.loads(body)  # also takes NaN and Infinity, so that the field that has one can be named
    except (ValueError, RecursionError) as error:
        raise MalformedError(
            "request.not_json", f"the body is not JSON: {problem}", hint='send {"rows": [{…}]}'
        ) from error


def read(service: Service, keys: frozenset[str], body: bytes, most_rows: int) -> Asked:
    """The rows of a body. Raises MalformedError, TooLargeError, or InvalidError naming every wrong field."""
    raw = _json(body)
    if not isinstance(raw, dict):
        raise MalformedError(
            "request.not_object", f"expected an object, got {validate.shown(raw)}", hint='send {"rows": [{…}]}'
        )
    faults = [Fault(name, f"one of {sorted(_FIELDS)}", "an unknown field") for name in sorted(raw.keys() - _FIELDS)]
    request_id = raw.get("request_id")
    if request_id is not None and (not isinstance(request_id, str) or not 0 < len(request_id) <= REQUEST_ID_LENGTH):
        expected = f"a text of 1 to {REQUEST_ID_LENGTH} characters"
        faults.append(Fault("request_id", expected, validate.shown(request_id)))
    max_staleness_ms, wrong = staleness.given(raw.get(staleness.FIELD))
    faults += wrong
    rows_in = raw.get("rows")
    if not isinstance(rows_in, list) or not rows_in:
        faults.append(Fault("rows", f"a list of 1 to {most_rows} rows", validate.shown(rows_in)))
        rows_in = []
    if len(rows_in) > most_rows:
        raise TooLargeError(
            "request.too_many_rows", f"a request has at most {most_rows} rows, got {len(rows_in)}",
            context={"rows": len(rows_in), "most_rows": most_rows}, hint="send the rows in several requests",
        )  # fmt: skip
    rows = []
    for number, one in enumerate(rows_in):
        row, wrong = validate.requested(service, keys, one, f"rows[{number}]")
        rows.append(row)
        faults += wrong
    faults += _repeated(service.event_key, rows)
    if faults:
        raise InvalidError("request", faults)
    return Asked(rows, str(request_id or ""), max_staleness_ms)


def _repeated(event_key: str, rows: list[dict[str, Value]]) -> list[Fault]:
    first: dict[str, int] = {}
    faults = []
    for number, row in enumerate(rows):
        if event_key in row and (earlier := first.setdefault(str(row[event_key]), number)) != number:
            faults.append(
                Fault(
                    f"rows[{number}].{event_key}", f"another value than rows[{earlier}]", validate.shown(row[event_key])
                )
            )
    return faults


class Remembered(msgspec.Struct, frozen=True):
    """A request with an id and what came of it. body_sha256: hex. published: the predictions are in Kafka."""

    body_sha256: str
    predictions: list[Prediction]
    published: bool


class Memory:
    """Answers given, by request id, in Redis. Raises PartDownError when Redis does not answer."""

    def __init__(self, store: Any, hours: int) -> None:
        self._store, self._seconds = store, hours * 3600
        self._busy: dict[str, tuple[threading.Lock, int]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """One request of an id at a time: the second one waits and finds the first one's answer."""
        with self._lock:
            lock, users = self._busy.get(key, (threading.Lock(), 0))
            self._busy[key] = (lock, users + 1)
        try:
            with lock:
                yield
        finally:
            with self._lock:
                lock, users = self._busy[key]
                self._busy[key] = (lock, users - 1)
                if users == 1:
                    del self._busy[key]

    def recall(self, key: str, body: bytes) -> Remembered | None:
        """What came of this request before. Raises ConflictError when its id was used for another body."""
        try:
            raw = self._store.get(key)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        if raw is None:
            return None
        remembered = msgspec.json.decode(raw, type=Remembered)
        if remembered.body_sha256 != digest(body):
            raise ConflictError(
                "request.id_used", "this request_id has been used for another body",
                hint="use a new request_id for each request, and the same one only to repeat it",
            )  # fmt: skip
        return remembered

    def keep(self, key: str, body: bytes, predictions: list[Prediction], *, published: bool) -> None:
        record = Remembered(digest(body), predictions, published)
        try:
            self._store.set(key, msgspec.json.encode(record), ex=self._seconds)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
