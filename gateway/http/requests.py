"""What the API is asked to score: the body, every wrong field of it, and what was answered to it before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.records import Prediction, Value
from gateway.errors import ConflictError, Fault, InvalidError, MalformedError, TooLargeError
from gateway.scorer.intake import REQUEST_ID_LENGTH
from gateway.scoring import staleness, validate
from stream_jobs.plan import Service

_TIMEOUT, _EXPLAIN = "timeout_ms", "explain_time"
_FIELDS = frozenset({"rows", "request_id", staleness.FIELD, _TIMEOUT, _EXPLAIN})


@dataclass(frozen=True)
class Asked:
    """rows: in one form. request_id: "" when the caller gave none. max_staleness_ms: None when any age will do.

    timeout_ms: in which the caller wants the answer, None for the gateway's own limit. explain_time: whether the answer
    says how long each step took.
    """

    rows: list[dict[str, Value]]
    request_id: str
    max_staleness_ms: int | None = None
    timeout_ms: int | None = None
    explain_time: bool = False


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
    timeout_ms = raw.get(_TIMEOUT)
    if timeout_ms is not None and (type(timeout_ms) is not int or timeout_ms < 1):
        faults.append(Fault(_TIMEOUT, "a whole number of ms, at least 1", validate.shown(timeout_ms)))
    explain_time = raw.get(_EXPLAIN, False)
    if not isinstance(explain_time, bool):
        faults.append(Fault(_EXPLAIN, "true or false", validate.shown(explain_time)))
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
    return Asked(rows, str(request_id or ""), max_staleness_ms, timeout_ms, explain_time)


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
    """What came of a request with an id. body_sha256: hex."""

    body_sha256: str
    predictions: list[Prediction]


def memory(body_sha256: str, predictions: Sequence[bytes]) -> bytes:
    """A ``Remembered`` as JSON. predictions: each as JSON."""
    return msgspec.json.encode({"body_sha256": body_sha256, "predictions": [msgspec.Raw(one) for one in predictions]})


def recalled(raw: bytes, body_sha256: str) -> list[Prediction]:
    """What came of this request before. Raises ConflictError when its id was used for another body."""
    remembered = msgspec.json.decode(raw, type=Remembered)
    if remembered.body_sha256 != body_sha256:
        raise ConflictError(
            "request.id_used", "this request_id has been used for another body",
            hint="use a new request_id for each request, and the same one only to repeat it",
        )  # fmt: skip
    return remembered.predictions


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
