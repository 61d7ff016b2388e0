"""What apps and people say of events: read, checked, and put into the topic of feedback.

``main.feedback.<service>`` is the one durable way; ``writer-lake`` appends it to the lake exactly once, and
``models.feedback.settle`` says which answer counts.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from confluent_kafka import KafkaException, Producer

from appliance.names import Names
from appliance.records import Feedback
from gateway.errors import Fault, InvalidError, MalformedError, PartDownError, TooLargeError
from gateway.scoring import validate

MOST_ITEMS = 1_000
_FIELDS = frozenset({"feedback_id", "event_key", "prediction_id", "label", "known_at", "note"})
_LENGTHS = {"feedback_id": 200, "event_key": 200, "prediction_id": 200, "note": 1_000}
_SKEW_US = 300_000_000
"""The caller's clock may be ahead by so much."""


class Asked(msgspec.Struct, frozen=True):
    """The body: of which service, and the statements as they were given."""

    service: str
    items: list[Any]


def body(raw: bytes) -> Asked:
    """Raises MalformedError for what is no such body at all, TooLargeError for too many items."""
    try:
        asked = msgspec.json.decode(raw, type=Asked)
    except msgspec.MsgspecError as error:
        raise MalformedError(
            "request.not_feedback", f"the body is not an object with service and items: {error}",
            hint='send {"service": "…", "items": [{"event_key": "…", "label": 1}]}',
        ) from error  # fmt: skip
    if len(asked.items) > MOST_ITEMS:
        raise TooLargeError(
            "request.too_many_items", f"a request has at most {MOST_ITEMS} items, got {len(asked.items)}",
            context={"items": len(asked.items), "most_items": MOST_ITEMS}, hint="send the items in several requests",
        )  # fmt: skip
    return asked


def statements(asked: Asked, way: Literal["console", "http"], said_by: str, now_us: int) -> list[Feedback]:
    """The statements of a body. Raises InvalidError naming every wrong field.

    Without a ``feedback_id`` each gets one of its own; without ``known_at`` it is known since ``now_us``.
    """
    faults: list[Fault] = [] if asked.items else [Fault("items", f"a list of 1 to {MOST_ITEMS} items", "none")]
    found = []
    for number, raw in enumerate(asked.items):
        one, wrong = _statement(asked.service, raw, f"items[{number}]", way, said_by, now_us)
        faults += wrong
        found.append(one)
    if faults:
        raise InvalidError("feedback", faults, hint="GET /v1/schema describes the API")
    return [one for one in found if one is not None]


def _statement(
    service: str, raw: Any, where: str, way: Literal["console", "http"], said_by: str, now_us: int
) -> tuple[Feedback | None, list[Fault]]:
    if not isinstance(raw, dict):
        return None, [Fault(where, "an object", validate.shown(raw))]
    faults = [
        Fault(f"{where}.{name}", f"one of {sorted(_FIELDS)}", "an unknown field")
        for name in sorted(raw.keys() - _FIELDS)
    ]
    texts = {}
    for name, most in _LENGTHS.items():
        texts[name] = raw.get(name, "")
        if not isinstance(texts[name], str) or len(texts[name]) > most or (name in raw and not texts[name]):
            faults.append(Fault(f"{where}.{name}", f"a text of 1 to {most} characters", validate.shown(raw[name])))
    if bool(texts["event_key"]) == bool(texts["prediction_id"]):
        faults.append(Fault(where, "either event_key or prediction_id", "both" if texts["event_key"] else "neither"))
    label = raw.get("label", "")
    if label is not None and (isinstance(label, float | str) or label not in (0, 1)):
        got = validate.shown(label) if "label" in raw else "nothing"
        faults.append(Fault(f"{where}.label", "1 or true, 0 or false, or null to take back", got))
    known_at = now_us
    if raw.get("known_at") is not None:
        known_at, wrong = validate.time_us(raw["known_at"], f"{where}.known_at")
        faults += wrong
        if not wrong and not 0 <= known_at <= now_us + _SKEW_US:
            faults.append(Fault(f"{where}.known_at", "a time since 1970 that is not to come", validate.shown(known_at)))
    if faults:
        return None, faults
    return Feedback(
        feedback_id=texts["feedback_id"] or str(uuid.uuid4()),
        service=service,
        label=None if label is None else 1 if label else 0,
        known_at=known_at,
        event_key=texts["event_key"],
        prediction_id=texts["prediction_id"],
        way=way,
        said_by=said_by,
        note=texts["note"],
    ), []


class FeedbackDesk:
    """Puts statements into Kafka. May be used by many threads at once."""

    def __init__(self, producer: Producer, names: Names, timeout_ms: int) -> None:
        self._producer, self._names, self._timeout_seconds = producer, names, timeout_ms / 1000

    def take(self, said: Sequence[Feedback]) -> None:
        """Returns once every statement is acknowledged. Raises PartDownError when Kafka does not take them."""
        failures: list[Any] = []
        left = len(said)

        def delivered(error: Any, message: Any) -> None:
            nonlocal left
            left -= 1
            if error is not None:
                failures.append(error)

        try:
            for one in said:
                key = (one.event_key or one.prediction_id).encode()
                self._producer.produce(
                    self._names.feedback(one.service), msgspec.json.encode(one), key, on_delivery=delivered
                )
            self._producer.flush(self._timeout_seconds)
        except (BufferError, KafkaException) as error:
            raise PartDownError("kafka", error) from error
        if failures or left:
            raise PartDownError("kafka", failures[0] if failures else "no acknowledgement in time")

    def close(self) -> None:
        self._producer.flush(self._timeout_seconds)
