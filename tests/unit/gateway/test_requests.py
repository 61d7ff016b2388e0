"""Bodies of ``predict``."""

from __future__ import annotations

import json

import msgspec
import pytest

from gateway.errors import ConflictError, InvalidError, MalformedError, TooLargeError
from gateway.http import requests
from gateway.scoring.validate import key_columns
from tests.unit.gateway.example import PLAN, ROW, SERVICE, prediction

KEYS = key_columns(PLAN, SERVICE)


def _read(body: bytes) -> requests.Asked:
    return requests.read(SERVICE, KEYS, body, 3)


def test_rows_and_id_are_read() -> None:
    asked = _read(json.dumps({"rows": [ROW, ROW | {"id": 8}], "request_id": "a"}).encode())
    assert [row["id"] for row in asked.rows] == [7, 8]
    assert asked.request_id == "a"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[]", b"null", b"5"])
def test_what_is_no_object_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedError):
        _read(body)


def test_too_many_rows_are_refused_before_they_are_looked_at() -> None:
    with pytest.raises(TooLargeError):
        _read(json.dumps({"rows": [{}] * 4}).encode())


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (b"{}", ["rows"]),
        (b'{"rows": []}', ["rows"]),
        (b'{"rows": {}}', ["rows"]),
        (b'{"rows": [5]}', ["rows[0]"]),
        (b'{"rows": [5], "more": 1, "request_id": 5}', ["more", "request_id", "rows[0]"]),
        (json.dumps({"rows": [ROW | {"amount": float("nan")}]}).encode(), ["rows[0].amount"]),
        (json.dumps({"rows": [ROW, ROW | {"note": 1, "x": 1}]}).encode(), ["rows[1].note", "rows[1].x", "rows[1].id"]),
    ],
)  # fmt: skip
def test_every_wrong_field_is_named(body: bytes, fields: list[str]) -> None:
    with pytest.raises(InvalidError) as caught:
        _read(body)
    assert [fault["field"] for fault in caught.value.context["fields"]] == fields


def test_what_is_remembered_answers_the_same_body_only() -> None:
    body = b'{"rows": []}'
    raw = requests.memory(requests.digest(body), [msgspec.json.encode(prediction())])
    assert requests.recalled(raw, requests.digest(body)) == [prediction()]
    with pytest.raises(ConflictError):
        requests.recalled(raw, requests.digest(b"another"))


@pytest.mark.parametrize(("field", "value"), [("timeout_ms", 0), ("timeout_ms", True), ("explain_time", 1)])
def test_what_a_request_wants_besides_is_checked(field: str, value: object) -> None:
    with pytest.raises(InvalidError) as caught:
        _read(json.dumps({"rows": [ROW], field: value}).encode())
    assert [fault["field"] for fault in caught.value.context["fields"]] == [field]
    asked = _read(json.dumps({"rows": [ROW], "timeout_ms": 50, "explain_time": True}).encode())
    assert (asked.timeout_ms, asked.explain_time) == (50, True)
