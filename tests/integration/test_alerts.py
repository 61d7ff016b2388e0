"""Alerts of the running appliance: filed once an event, found again, refused ones buried."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest

from appliance.clients import opensearch
from appliance.parts.base import Context
from appliance.records import Alert, DeadLetter
from gateway.alerts import index
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


@pytest.fixture
def client(live: Context) -> Iterator[httpx.Client]:
    with api.app_client(live) as made:
        yield made


@pytest.fixture
def filed(live: Context) -> Iterator[Alert]:
    """An alert of an invented payment, filed by the alerter and taken out of the index afterwards."""
    alert = api.alert(live)
    api.send(live, live.names.alerts(), msgspec.json.encode(alert))
    yield alert
    with opensearch.connect(live, "alerter") as store:
        name = index.name(live.names, api.SERVICE, alert.prediction.as_of)
        store.delete(index=name, id=alert.alert_id, params={"refresh": "true"})


def _find(client: httpx.Client, alert: Alert, **wanted: Any) -> list[dict[str, Any]]:
    answer = client.get("/v1/alerts", params={"limit": 200, **wanted})
    assert answer.status_code == 200, answer.text
    return [one for one in answer.json()["alerts"] if one["alert_id"] == alert.alert_id]


def test_an_alert_is_found_soon_by_each_of_its_sides(live: Context, client: httpx.Client, filed: Alert) -> None:
    customer = filed.prediction.row["customer_id"]
    (found,) = api.eventually(lambda: _find(client, filed, customer=customer), seconds=10)
    assert found["score"] == 0.625 and found["row"] == filed.prediction.row
    assert found["features"]["request:amount"] == {"value": 321.0, "status": "present", "age_ms": None}
    sides: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"text": "zebra zoo"}, {"text": "zebra submarine"}),
        ({"text": filed.prediction.event_key}, {"text": "987654321999"}),
        ({"terminal": 987_654_321_008}, {"terminal": 1}),
        ({"min_score": 0.6, "max_score": 0.65}, {"min_score": 0.63}),
        ({"decision": "review"}, {"decision": "decline"}),
        ({"kind": "test kind"}, {"kind": "other kind"}),
        ({"from": "2000-01-01T00:00:00Z"}, {"to": "2000-01-01T00:00:00Z"}),
        ({"service": api.SERVICE}, {"customer": 1}),
    ]
    for right, wrong in sides:
        assert _find(client, filed, **({"customer": customer} | right)) == [found], right
        assert _find(client, filed, **({"customer": customer} | wrong)) == [], wrong


def test_alerts_are_counted_by_day_kind_and_decision(client: httpx.Client, filed: Alert) -> None:
    def counted() -> Any:
        body = client.get("/v1/alerts", params={"customer": filed.prediction.row["customer_id"], "limit": 1}).json()
        return body if body["total"] else None

    body = api.eventually(counted)
    assert (
        body["total"] == sum(body["by_day"].values()) == body["by_kind"]["test kind"] == body["by_decision"]["review"]
    )


def test_two_ways_and_a_repetition_are_one_alert(live: Context, client: httpx.Client, filed: Alert) -> None:
    p = filed.prediction
    later = msgspec.structs.replace(
        p, prediction_id=str(uuid.uuid4()), way="cdc", score=0.75, scored_at=p.scored_at + 1
    )
    records = [msgspec.json.encode(Alert(filed.alert_id, one)) for one in (p, later, p, later)]
    api.send(live, live.names.alerts(), *records)
    customer = p.row["customer_id"]

    def both() -> Any:
        found = _find(client, filed, customer=customer)
        return found if found and len(found[0]["ways"]) == 2 else None

    (found,) = api.eventually(both)
    assert sorted(found["ways"]) == ["cdc", "http"]
    assert (found["score"], found["prediction_id"]) == (0.75, later.prediction_id)
    total = client.get("/v1/alerts", params={"customer": customer, "text": p.event_key}).json()["total"]
    assert total == 1


def test_what_opensearch_refuses_is_buried_and_the_rest_goes_on(
    live: Context, client: httpx.Client, filed: Alert
) -> None:
    refused = api.alert(live, row={"colour": "red"})
    with api.tail(live, live.names.dead_letters("alerter")) as reading:
        api.send(live, live.names.alerts(), msgspec.json.encode(refused), b"no alert at all")
        values = reading.values(30, lambda seen: len(seen) >= 2)
    letters = [msgspec.json.decode(value, type=DeadLetter) for value in values]
    assert sorted(letter.code for letter in letters) == ["alert.refused", "alert.unreadable"]
    assert api.eventually(lambda: _find(client, filed, customer=filed.prediction.row["customer_id"]))


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"colour": "red"}, 422), ({"from": "yesterday"}, 422), ({"from": "2018-01-01"}, 422), ({"customer": "x"}, 422),
        ({"decision": "maybe"}, 422), ({"min_score": 2}, 400), ({"limit": 0}, 400), ({"limit": 10_000}, 400),
        ({"service": "nonsense"}, 404),
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_refused(client: httpx.Client, query: dict[str, Any], status: int) -> None:
    answer = client.get("/v1/alerts", params=query)
    assert answer.status_code == status, answer.text


def test_pages_do_not_overlap(client: httpx.Client) -> None:
    pages = [client.get("/v1/alerts", params={"limit": 5, "offset": offset}).json() for offset in (0, 5)]
    ids = [one["alert_id"] for page in pages for one in page["alerts"]]
    assert len(ids) == len(set(ids)) == min(10, pages[0]["total"])
