"""Bodies of ``predict``."""

from __future__ import annotations

import json
import threading

import pytest

from gateway.errors import InvalidError, MalformedError, TooLargeError
from gateway.http import requests
from gateway.scoring.validate import key_columns
from tests.unit.gateway.example import PLAN, ROW, SERVICE

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


def test_an_id_in_use_makes_the_second_wait() -> None:
    memory = requests.Memory(None, 1)
    order: list[str] = []
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with memory.alone("k"):
            inside.set()
            go_on.wait(5)
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(5)
    with memory.alone("other"):
        order.append("other")
    go_on.set()
    with memory.alone("k"):
        order.append("second")
    thread.join()
    assert order == ["other", "first", "second"]
