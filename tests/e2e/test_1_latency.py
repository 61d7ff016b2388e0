"""One payment at a time: from the commit to the prediction in Kafka, the alert in OpenSearch and on the console."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable

import httpx
import msgspec
import pytest
from confluent_kafka import Consumer

from appliance.clients import kafka, opensearch, postgres
from appliance.clock import wall_us
from appliance.parts.base import Context
from appliance.records import Prediction
from tests.e2e import business
from tests.integration import gateway_api as api

pytestmark = pytest.mark.e2e

PAYMENTS = 100
SUSPICIOUS_EVERY = 5
LIMIT_MS = 2000
CONSOLE_REFRESH_MS = 1000
"""How often the console's page asks for its figures again (console.js)."""
GIVE_UP_SECONDS = 20


def nearest_rank(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def told(name: str, values: list[float]) -> float:
    """Print the quantiles; returns p99, ms."""
    p99 = nearest_rank(values, 0.99)
    print(f"commit → {name}: p50 {nearest_rank(values, 0.5):.0f} ms, p99 {p99:.0f} ms ({len(values)})")
    return p99


def wait_prediction(consumer: Consumer, key: str) -> Prediction:
    """The prediction of this event, as a reader of committed records sees it."""
    began = time.monotonic()
    while time.monotonic() - began < GIVE_UP_SECONDS:
        message = consumer.poll(0.01)
        if message is not None and message.error() is None:
            prediction = msgspec.json.decode(message.value() or b"", type=Prediction)
            if prediction.event_key == key:
                return prediction
    raise AssertionError(f"payment {key} was not scored within {GIVE_UP_SECONDS} s")


def wait_until(there: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    while not there():
        assert time.monotonic() - began < GIVE_UP_SECONDS, f"{what} is not there after {GIVE_UP_SECONDS} s"
        time.sleep(0.02)


def test_commit_to_prediction_alert_and_console(live: Context) -> None:
    """p99 over 100 single commits, every fifth of an amount no customer ever pays."""
    payments = business.Payments(live)
    group = f"main.appliance.test-{uuid.uuid4().hex}"
    consumer = kafka.from_end(live, "appliance", group, live.names.predictions("card_fraud"))
    search, index = opensearch.connect(live, "gateway"), live.names.alert_index("card_fraud")

    def filed(key: str) -> bool:
        return bool(search.search(index=index, body={"query": {"term": {"event_key": key}}})["hits"]["hits"])

    def shown(client: httpx.Client, key: str) -> bool:
        return any(alert["event_key"] == key for alert in client.get("/v1/summary").json()["latest"])

    to_kafka, to_alert, to_console = list[float](), list[float](), list[float]()
    with postgres.sample(live) as database, api.app_client(live) as client:
        for number in range(PAYMENTS):
            payment = payments.make(9_999.0 if number % SUSPICIOUS_EVERY == 0 else None)
            key = str(payment[0])
            database.execute(business.INSERT, payment)
            prediction = wait_prediction(consumer, key)
            to_kafka.append((wall_us() - prediction.committed_at) / 1000)
            if prediction.decision != "approve":
                wait_until(lambda key=key: filed(key), f"alert {key} in OpenSearch")  # type: ignore[misc]
                to_alert.append((wall_us() - prediction.committed_at) / 1000)
                wait_until(lambda key=key: shown(client, key), f"alert {key} among the console's")  # type: ignore[misc]
                to_console.append((wall_us() - prediction.committed_at) / 1000)
    consumer.close()
    assert len(to_alert) >= PAYMENTS // SUSPICIOUS_EVERY // 2, "amounts of 9,999 raise no alerts"
    assert told("prediction in Kafka", to_kafka) <= LIMIT_MS
    assert told("alert in OpenSearch", to_alert) <= LIMIT_MS
    assert told("alert in the console's figures", to_console) <= LIMIT_MS - CONSOLE_REFRESH_MS
