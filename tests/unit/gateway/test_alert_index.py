"""Indexes of alerts: names, mapping, retention; questions to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from appliance.names import Names
from gateway.alerts import index, search
from gateway.errors import Fault
from gateway.http.alerts import row_filters
from tests.unit.gateway.example import PLAN, SERVICE

DAY_US = 86_400_000_000


def _us(*date: int) -> int:
    return round(datetime(*date, tzinfo=UTC).timestamp() * 1e6)  # type: ignore[arg-type]


def test_an_index_is_named_by_the_month_of_the_event() -> None:
    assert index.name(Names("main"), "orders", _us(2018, 8, 31, 23, 59)) == "main-alerts-orders-2018.08"


def test_every_field_of_the_row_has_a_type() -> None:
    mapping = index.template(Names("main"), SERVICE)["template"]["mappings"]
    assert mapping["dynamic"] == "strict"
    assert {name: field["type"] for name, field in mapping["properties"]["row"]["properties"].items()} == {
        "id": "long", "at": "long", "customer_id": "long", "amount": "double", "note": "keyword",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("now", "created", "gone"),
    [
        (_us(2018, 9, 10), _us(2018, 8, 1), False),  # the last event is 10 days old
        (_us(2018, 9, 12), _us(2018, 8, 1), True),
        (_us(2026, 1, 2), _us(2026, 1, 1), False),  # old events, replayed yesterday
        (_us(2026, 1, 13), _us(2026, 1, 1), True),
    ],
)
def test_an_index_goes_when_its_events_and_itself_are_past_retention(now: int, created: int, gone: bool) -> None:
    assert index.expired("main-alerts-orders-2018.08", created, now, now, 10) is gone


def test_what_is_not_an_index_of_ours_stays() -> None:
    assert not index.expired("main-alerts-orders", 0, _us(2026, 1, 1), _us(2026, 1, 1), 1)


def test_a_question_becomes_filters() -> None:
    question = search.Question(
        ("orders",), text="large gift", from_us=1, to_us=2, min_score=0.5, decision="review", row={"customer_id": "42"}
    )
    wanted: dict[str, Any] = search.query(question)["query"]["bool"]
    assert wanted["filter"] == [
        {"range": {"as_of_us": {"gte": 1, "lt": 2}}},
        {"range": {"score": {"gte": 0.5}}},
        {"term": {"decision": "review"}},
        {"term": {"row.customer_id": "42"}},
    ]
    assert wanted["must"][0]["simple_query_string"]["query"] == "large gift"


def test_entities_and_row_fields_can_be_asked_for() -> None:
    faults: list[Fault] = []
    assert row_filters(PLAN, {"customer": "42", "note": "gift"}, faults) == {"customer_id": "42", "note": "gift"}
    assert faults == []


@pytest.mark.parametrize(("name", "value"), [("nonsense", "1"), ("customer", "x"), ("id", "1 or 1")])
def test_what_cannot_be_asked_is_named(name: str, value: str) -> None:
    faults: list[Fault] = []
    row_filters(PLAN, {name: value}, faults)
    assert [fault.field for fault in faults] == [name]
