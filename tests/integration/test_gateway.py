"""The HTTP API of the running appliance: who may call, what is refused, what is answered twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from appliance.parts.base import Context
from gateway import apps, database
from gateway.alerts.search import iso
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration

_CODE = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def client(live: Context) -> Iterator[httpx.Client]:
    with api.app_client(live) as made:
        yield made


def _fields(answer: httpx.Response) -> list[str]:
    return [fault["field"] for fault in answer.json()["context"]["fields"]]


def test_a_row_is_scored(live: Context, client: httpx.Client) -> None:
    row = api.payment(live)
    answer = client.post(api.PREDICT, json={"rows": [row]})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (scored,) = body["predictions"]
    assert 0 <= scored["score"] <= 1
    assert scored["event_key"] == str(row["transaction_id"])
    assert scored["decision"] in ("approve", "review", "decline")
    assert body["model"] == "card_fraud" and int(body["model_version"]) >= 1
    assert scored["features"]["customer_payments:customer_tx_count_30d"]["value"] > 1
    assert scored["features"]["request:amount"] == {"value": 87.65, "status": "present", "age_ms": None}
    assert all(len(cut) == 32 for cut in scored["cuts"].values())


def test_many_rows_are_scored_in_their_order(live: Context, client: httpx.Client) -> None:
    rows = [api.payment(live) | {"tx_amount": f"{10 + number}.00"} for number in range(20)]
    scored = client.post(api.PREDICT, json={"rows": rows}).json()["predictions"]
    assert [one["event_key"] for one in scored] == [str(row["transaction_id"]) for row in rows]
    assert [one["features"]["request:amount"]["value"] for one in scored] == [float(row["tx_amount"]) for row in rows]


def test_an_entity_never_seen_is_marked_and_no_error(live: Context, client: httpx.Client) -> None:
    row = api.payment(live, customer_id=987_654_321_000, terminal_id=987_654_321_001)
    answer = client.post(api.PREDICT, json={"rows": [row]})
    assert answer.status_code == 200, answer.text
    features = answer.json()["predictions"][0]["features"]
    assert {value["status"] for name, value in features.items() if not name.startswith("request:")} == {"missing"}


def test_without_a_time_the_clock_speaks(live: Context, client: httpx.Client) -> None:
    row = api.payment(live)
    del row["tx_datetime"]
    before = api.scenario_now_us(live)
    scored = client.post(api.PREDICT, json={"rows": [row]}).json()["predictions"][0]
    assert scored["as_of"] >= iso(before - 1_000_000)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"tx_amount": "NaN"}, "rows[0].tx_amount"),
        ({"tx_amount": "1.234"}, "rows[0].tx_amount"),
        ({"tx_amount": [1]}, "rows[0].tx_amount"),
        ({"customer_id": "12"}, "rows[0].customer_id"),
        ({"customer_id": None}, "rows[0].customer_id"),
        ({"tx_datetime": "2018-08-15T10:00:00"}, "rows[0].tx_datetime"),
        ({"colour": "red"}, "rows[0].colour"),
    ],
)
def test_a_wrong_field_is_named(live: Context, client: httpx.Client, change: dict[str, Any], field: str) -> None:
    answer = client.post(api.PREDICT, json={"rows": [api.payment(live) | change]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "message", "context", "hint"} <= answer.json().keys()
    assert _fields(answer) == [field]


def test_every_wrong_field_is_named_and_a_bare_nan_too(client: httpx.Client) -> None:
    body = b'{"rows": [{"tx_amount": NaN, "transaction_id": 1, "customer_id": 2, "colour": 1}], "more": true}'
    answer = client.post(api.PREDICT, content=body)
    assert answer.status_code == 422
    assert _fields(answer) == ["more", "rows[0].colour", "rows[0].terminal_id", "rows[0].tx_amount"]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"", 400), (b"[]", 400), (b"{}", 422), (b'{"rows": []}', 422), (b"x" * (9 << 20), 413)],
)
def test_a_broken_body_is_refused(client: httpx.Client, body: bytes, status: int) -> None:
    answer = client.post(api.PREDICT, content=body)
    assert answer.status_code == status, answer.text
    assert answer.json()["code"]


def test_too_many_rows_are_refused(live: Context, client: httpx.Client) -> None:
    rows = [{}] * (live.settings.scoring.max_rows_per_request + 1)
    answer = client.post(api.PREDICT, json={"rows": rows})
    assert answer.status_code == 413
    assert answer.json()["context"]["most_rows"] == live.settings.scoring.max_rows_per_request


def test_what_does_not_exist_is_404(client: httpx.Client) -> None:
    assert client.post("/v1/services/nonsense/predict", json={"rows": [{}]}).status_code == 404
    assert client.get("/v1/nonsense").status_code == 404


def test_no_401_says_what_is_wrong(live: Context) -> None:
    database.create_tables(live)
    expired, expired_token = apps.create(live, "expired", None, 1)
    revoked, revoked_token = apps.create(live, "revoked", None, 1)
    valid, valid_token = apps.create(live, "valid", None, 1)
    with database.connect(live) as connection:
        connection.execute("update gateway.apps set expires_at = now() where id = %s", (expired.id,))
    apps.revoke(live, revoked.id)
    attempts: list[dict[str, str]] = [
        {},
        {"X-App-Id": valid.id},
        {"Authorization": f"Bearer {valid_token}"},
        {"X-App-Id": "app-000000000000", "Authorization": f"Bearer {valid_token}"},
        {"X-App-Id": valid.id, "Authorization": "Bearer wrong"},
        {"X-App-Id": valid.id, "Authorization": f"Basic {valid_token}"},
        {"X-App-Id": expired.id, "Authorization": f"Bearer {expired_token}"},
        {"X-App-Id": revoked.id, "Authorization": f"Bearer {revoked_token}"},
    ]
    with httpx.Client(base_url=api.base_url(live)) as client:
        answers = [client.post(api.PREDICT, json={"rows": [{}]}, headers=headers) for headers in attempts]
        assert [answer.status_code for answer in answers] == [401] * len(attempts)
        assert len({answer.text for answer in answers}) == 1
        right = {"X-App-Id": valid.id, "Authorization": f"Bearer {valid_token}"}
        assert client.get("/v1/services", headers=right).status_code == 200
        for path in ("/v1/services", "/v1/alerts", "/v1/summary", "/v1/status", "/v1/schema/openapi.json"):
            assert client.get(path).status_code == 401, path
        health = client.get("/health")
        assert (health.status_code, health.content) == (204, b"")
    apps.revoke(live, valid.id)


def test_no_token_is_stored(live: Context) -> None:
    app, token = apps.create(live, "stored", None, 1)
    with database.connect(live) as connection:
        (row,) = connection.execute("select a::text from gateway.apps a where id = %s", (app.id,)).fetchone() or ("",)
    apps.revoke(live, app.id)
    assert app.id in row and token not in row


def test_an_app_may_use_only_its_services(live: Context) -> None:
    with api.app_client(live, ["another"]) as client:
        answer = client.post(api.PREDICT, json={"rows": [api.payment(live)]})
        assert (answer.status_code, answer.json()["code"]) == (403, "access.forbidden")
        assert client.get("/v1/services").json() == []


def test_a_repeated_request_id_is_answered_and_recorded_once(live: Context, client: httpx.Client) -> None:
    row = api.payment(live)
    body = {"rows": [row], "request_id": f"test-{row['transaction_id']}"}
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.post(api.PREDICT, json=body), range(8)))
        assert [answer.status_code for answer in answers] == [200] * 8
        assert len({answer.json()["predictions"][0]["prediction_id"] for answer in answers}) == 1
        assert sum(not answer.json()["repeated"] for answer in answers) == 1
        recorded = api.predictions_of(reading, str(row["transaction_id"]), 2, seconds=3)
    assert [one.prediction_id for one in recorded] == [answers[0].json()["predictions"][0]["prediction_id"]]
    other = client.post(api.PREDICT, json=body | {"rows": [row | {"tx_amount": "1.00"}]})
    assert (other.status_code, other.json()["code"]) == (409, "request.id_used")


def test_features_of_an_entity_can_be_asked_for(live: Context, client: httpx.Client) -> None:
    customer, _ = api.busy_pair(live)
    answer = client.get(f"/v1/services/{api.SERVICE}/features", params={"customer_id": customer})
    assert answer.status_code == 200, answer.text
    assert answer.json()["features"]["customer_payments:customer_tx_count_30d"]["value"] > 0
    assert not any(name.startswith("terminal_labels:") for name in answer.json()["features"])
    assert client.get(f"/v1/services/{api.SERVICE}/features", params={"colour": 1}).status_code == 422


def test_the_description_names_every_endpoint_and_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    described = client.get("/v1/schema/openapi.json").json()
    guide = (_CODE / "docs" / "api.md").read_text()
    told = set(re.findall(r"`(?:GET|POST) (/[^`?]*)", guide)) - {"/health", "/v1/schema", "/v1/schema/openapi.json"}
    assert described["paths"].keys() == told
    page = client.get("/v1/schema", headers={"Accept": "text/html"})
    assert page.status_code == 200
    assert "https://" not in page.text and "http://" not in page.text


def test_the_summary_has_figures(client: httpx.Client) -> None:
    summary = client.get("/v1/summary").json()
    assert summary["week"]["scored"] >= summary["today"]["scored"] >= 0
    assert summary["week"]["alerts"] == sum(summary["week"]["by_kind"].values())
    assert len(summary["days"]) == 14
