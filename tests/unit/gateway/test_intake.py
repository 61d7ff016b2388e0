"""Which Kafka records are scored, and what is said of those that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.errors import UnusableRowError
from gateway.scorer.intake import Intake
from tests.unit.gateway.example import PLAN, ROW, SERVICE

REQUESTS = "main.requests.orders"
INTAKE = Intake(PLAN, {"orders": REQUESTS})


def _change(op: str, after: Any = ROW, sequence: str = '["16","32"]') -> bytes:
    source = {"sequence": sequence, "ts_us": 9_000_000, "table": "orders"}
    return json.dumps({"op": op, "before": None, "after": after, "source": source}).encode()


def _rows(topic: str, value: bytes | None, intake: Intake = INTAKE) -> Any:
    return intake.rows(topic, value, 5_000_000, 77)


def test_a_committed_insert_is_scored_as_of_its_own_time_at_its_own_position() -> None:
    row = _rows(SERVICE.event_topic, _change("c"))["orders"]
    assert (row.way, row.event_key, row.as_of, row.position) == ("cdc", "7", ROW["at"], f"{16:016x}{32:016x}")
    assert (row.committed_at, row.first_attempt) == (9_000_000, 9_000_000)
    assert row.row == ROW


@pytest.mark.parametrize("op", ["r", "u", "d", "t", "m"])
def test_other_changes_are_not_scored(op: str) -> None:
    assert _rows(SERVICE.event_topic, _change(op)) == {}


def test_a_tombstone_is_not_scored() -> None:
    assert _rows(SERVICE.event_topic, None) == {}


def test_updates_are_scored_where_the_policy_says_so() -> None:
    policy = msgspec.structs.replace(SERVICE.policy, score_updates=True)
    plan = msgspec.structs.replace(PLAN, services=(msgspec.structs.replace(SERVICE, policy=policy),))
    intake = Intake(plan, {"orders": REQUESTS})
    assert "orders" in _rows(SERVICE.event_topic, _change("u"), intake)
    made = _change("u").replace(b'"table"', b'"made_by": "mender", "table"')
    assert _rows(SERVICE.event_topic, made, intake) == {}, "nobody committed it"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"{", "change.unreadable"),
        (b"[]", "change.unreadable"),
        (_change("c", {"at": 1}), "change.invalid"),
        (_change("c", None), "change.invalid"),
        (_change("c", sequence="nonsense"), "change.no_position"),
    ],
)
def test_a_broken_change_says_why(value: bytes, code: str) -> None:
    with pytest.raises(UnusableRowError) as caught:
        _rows(SERVICE.event_topic, value)
    assert caught.value.code == code


def test_a_request_is_scored_and_keeps_its_id_and_time() -> None:
    row = _rows(REQUESTS, json.dumps({"request_id": "r1", "row": ROW}).encode())["orders"]
    assert (row.way, row.request_id, row.position, row.first_attempt) == ("kafka", "r1", "", 5_000_000)
    same = _rows(SERVICE.event_topic, _change("c"))["orders"]
    assert replace(row, way="cdc", request_id="", position=same.position, committed_at=9_000_000,
                   first_attempt=9_000_000) == same  # fmt: skip


def test_a_request_without_a_time_gets_the_clocks() -> None:
    without = {name: value for name, value in ROW.items() if name != "at"}
    row = _rows(REQUESTS, json.dumps({"request_id": "r1", "row": without}).encode())["orders"]
    assert row.as_of == 77 == row.row["at"]


@pytest.mark.parametrize(
    ("value", "code", "named"),
    [
        (b"{broken", "request.not_json", "JSON"),
        (b"", "request.not_json", "JSON"),
        (b"5", "request.not_object", "object"),
        (b'{"row": {}}', "request.invalid", "request_id"),
        (b'{"request_id": "x", "row": {"amount": NaN}}', "request.invalid", "row.amount"),
        (b'{"request_id": "x", "row": {"foo": 1}}', "request.invalid", "row.foo"),
        (b'{"request_id": "x", "row": {}, "more": 1}', "request.invalid", "more"),
        (b'{"request_id": ""}', "request.invalid", "row: expected an object"),
    ],
)
def test_a_broken_request_says_why(value: bytes, code: str, named: str) -> None:
    with pytest.raises(UnusableRowError) as caught:
        _rows(REQUESTS, value)
    assert caught.value.code == code
    assert named in caught.value.message
