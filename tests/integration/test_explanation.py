"""Alerts of the running appliance say what moved their score, asked of the served model."""

from __future__ import annotations

import math
from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from appliance.clients import opensearch
from appliance.parts.base import Context
from appliance.records import Alert, Prediction
from gateway.alerts import index
from gateway.scoring import identity
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


@pytest.fixture
def alert(live: Context) -> Iterator[Alert]:
    """Of a payment that was just scored, as if its policy had sent it to review."""
    row = api.payment(live, tx_amount="412.90")
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading, api.app_client(live) as client:
        assert client.post(api.PREDICT, json={"rows": [row]}).status_code == 200
        (prediction,) = api.predictions_of(reading, str(row["transaction_id"]), 1)
    event = f"explained-{prediction.event_key}"
    made: Prediction = replace(prediction, decision="review", event_key=event, kind="test kind")
    raised = Alert(identity.alert_id(made.tenant, made.service, event), made)
    yield raised
    with opensearch.connect(live, "alerter") as store:
        name = index.name(live.names, api.SERVICE, made.as_of)
        store.delete(index=name, id=raised.alert_id, params={"refresh": "true", "ignore": "404"})


def test_an_alert_says_what_moved_its_score(live: Context, alert: Alert) -> None:
    api.send(live, live.names.alerts(), msgspec.json.encode(alert))
    with api.app_client(live) as client:

        def found() -> object:
            alerts = client.get("/v1/alerts", params={"limit": 200, "kind": "test kind"}).json()["alerts"]
            return next((one for one in alerts if one["alert_id"] == alert.alert_id), None)

        filed = api.eventually(found, 60)
    explanation = filed["explanation"]
    assert explanation["reason"] == ""
    moved = {one["feature"]: one["moved"] for one in explanation["contributions"]}
    assert set(moved) == set(alert.prediction.features) & set(moved) and len(moved) == 15
    assert math.isclose(explanation["base"] + sum(moved.values()), alert.prediction.score, abs_tol=1e-5)
    assert explanation["gap"] < 1e-6 and explanation["evaluations"] > 1_000
    assert "of 100 points" in explanation["in_words"][-1]
    assert [abs(one["moved"]) for one in explanation["contributions"]] == sorted(map(abs, moved.values()), reverse=True)


def test_an_alert_that_cannot_be_explained_is_filed_with_the_reason(live: Context, alert: Alert) -> None:
    other = replace(alert, prediction=replace(alert.prediction, model_version="999999"))
    api.send(live, live.names.alerts(), msgspec.json.encode(other))
    with api.app_client(live) as client:

        def found() -> object:
            alerts = client.get("/v1/alerts", params={"limit": 200, "kind": "test kind"}).json()["alerts"]
            return next((one for one in alerts if one["alert_id"] == alert.alert_id), None)

        filed = api.eventually(found, 60)
    assert "no version 999999" in filed["explanation"]["reason"] and filed["explanation"]["contributions"] == []
