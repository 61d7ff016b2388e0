"""What may be said of events by HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import InvalidError, MalformedError, TooLargeError
from gateway.feedback import MOST_ITEMS, body, statements

_NOW = 1_763_900_000_000_000


def _said(*items: Any) -> Any:
    return statements(body(json.dumps({"service": "s", "items": items}).encode()), "http", "app-1", _NOW)


def test_a_statement_in_one_form() -> None:
    given = {"event_key": "7", "label": True, "known_at": "2025-11-01T00:00:00Z", "feedback_id": "c-1", "note": "n"}
    (one,) = _said(given)
    assert (one.feedback_id, one.event_key, one.label, one.way, one.said_by) == ("c-1", "7", 1, "http", "app-1")
    assert one.known_at == 1_761_955_200_000_000


def test_without_id_and_time_it_gets_its_own_and_now() -> None:
    first, second = _said({"event_key": "7", "label": 0}, {"prediction_id": "p", "label": None})
    assert first.feedback_id != second.feedback_id
    assert first.known_at == _NOW and second.label is None


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"label": 1}, "items[0]"),
        ({"event_key": "1", "prediction_id": "2", "label": 1}, "items[0]"),
        ({"event_key": "1"}, "items[0].label"),
        ({"event_key": "1", "label": 2}, "items[0].label"),
        ({"event_key": "1", "label": "1"}, "items[0].label"),
        ({"event_key": "1", "label": [1]}, "items[0].label"),
        ({"event_key": "1", "label": 1.0}, "items[0].label"),
        ({"event_key": 1, "label": 1}, "items[0].event_key"),
        ({"event_key": "1", "label": 1, "known_at": "2025-11-01"}, "items[0].known_at"),
        ({"event_key": "1", "label": 1, "known_at": _NOW + 10**9}, "items[0].known_at"),
        ({"event_key": "1", "label": 1, "known_at": -1}, "items[0].known_at"),
        ({"event_key": "1", "label": 1, "feedback_id": ""}, "items[0].feedback_id"),
        ({"event_key": "1", "label": 1, "note": "x" * 1001}, "items[0].note"),
        ({"event_key": "1", "label": 1, "fraud": 1}, "items[0].fraud"),
        ("1", "items[0]"),
    ],
)
def test_what_is_wrong_is_named(item: Any, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        _said(item)
    assert field in [fault["field"] for fault in caught.value.context["fields"]]


def test_no_body_and_too_much_of_one() -> None:
    for raw in (b"", b"[]", b'{"items": []}', b'{"service": 1, "items": []}'):
        with pytest.raises(MalformedError):
            body(raw)
    with pytest.raises(InvalidError):
        _said()
    with pytest.raises(TooLargeError):
        body(json.dumps({"service": "s", "items": [1] * (MOST_ITEMS + 1)}).encode())
