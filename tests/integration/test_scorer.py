"""The scorer of the running appliance: three ways in, once each, and what cannot be scored."""

from __future__ import annotations

import base64
import json
import time
import uuid
from zoneinfo import ZoneInfo

import msgspec
import pytest

from appliance import users
from appliance.clients import postgres
from appliance.clients import redis as redis_clients
from appliance.parts.base import Context
from appliance.records import DeadLetter
from gateway.scoring import identity, policy
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


def test_the_same_row_gives_the_same_vector_and_score_in_three_ways(live: Context) -> None:
    row = api.payment(live, tx_amount="412.30")
    key, names = str(row["transaction_id"]), live.names
    with api.tail(live, names.predictions(api.SERVICE)) as reading, api.app_client(live) as client:
        answer = client.post(api.PREDICT, json={"rows": [row | {"tx_amount": 412.30}]})
        assert answer.status_code == 200, answer.text
        request = {"request_id": f"test-{key}", "row": row}
        api.send(live, names.requests(api.SERVICE), json.dumps(request).encode())
        (by_kafka,) = [p for p in api.predictions_of(reading, key, 2) if p.way == "kafka"]
        api.insert(live, row)
        (by_cdc,) = api.predictions_of(reading, key, 1)
    by_http = answer.json()["predictions"][0]
    assert by_cdc.way == "cdc" and not by_cdc.behind
    assert by_http["score"] == by_kafka.score == by_cdc.score
    vectors = [
        {name: (value["value"], value["status"]) for name, value in features.items()}
        for features in (
            by_http["features"],
            msgspec.to_builtins(by_kafka.features),
            msgspec.to_builtins(by_cdc.features),
        )
    ]
    assert vectors[0] == vectors[1] == vectors[2]
    assert vectors[0]["customer_payments:customer_tx_count_30d"][0] > 1
    assert vectors[0]["terminal_labels:terminal_label_count_30d"][0] > 0
    assert by_kafka.row == by_cdc.row
    assert by_http["decision"] == by_kafka.decision == by_cdc.decision
    assert len({by_http["prediction_id"], by_kafka.prediction_id, by_cdc.prediction_id}) == 3
    assert by_cdc.prediction_id == identity.prediction_id(
        by_cdc.tenant, api.SERVICE, "cdc", key, by_cdc.source_position, by_cdc.committed_at
    )
    assert {"wait", "features", "model", "decision"} <= by_cdc.spent_us.keys()


def test_a_committed_row_is_scored_once_and_its_update_not(live: Context) -> None:
    first, second = api.payment(live), api.payment(live)
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading:
        api.insert(live, first)
        with postgres.sample(live) as bank:
            bank.execute(
                "update transactions set tx_amount = tx_amount + 1 where transaction_id = %s",
                (first["transaction_id"],),
            )
        api.insert(live, second)
        values = reading.values(
            30, lambda seen: any(json.loads(one)["event_key"] == str(second["transaction_id"]) for one in seen)
        )
    keys = [json.loads(value)["event_key"] for value in values]
    assert keys.count(str(first["transaction_id"])) == 1
    assert keys.count(str(second["transaction_id"])) == 1


def test_a_repeated_kafka_request_is_scored_once(live: Context) -> None:
    row, after = api.payment(live), api.payment(live)
    topic = live.names.requests(api.SERVICE)
    request = json.dumps({"request_id": uuid.uuid4().hex, "row": row}).encode()
    last = json.dumps({"request_id": uuid.uuid4().hex, "row": after}).encode()
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading:
        api.send(live, topic, request, request)
        api.send(live, topic, request, last)
        values = reading.values(
            30, lambda seen: any(json.loads(one)["event_key"] == str(after["transaction_id"]) for one in seen)
        )
    assert [json.loads(value)["event_key"] for value in values].count(str(row["transaction_id"])) == 1


@pytest.mark.parametrize(
    ("value", "code", "named"),
    [
        (b"{broken", "request.not_json", "JSON"),
        (b'{"request_id": "x", "row": {"tx_amount": NaN}}', "request.invalid", "row.tx_amount"),
        (b'{"request_id": "x", "row": {"colour": 1}}', "request.invalid", "row.colour"),
        (b'{"row": {}}', "request.invalid", "request_id"),
    ],
)
def test_a_broken_request_is_buried_with_its_reason(live: Context, value: bytes, code: str, named: str) -> None:
    marked = value + b" " * (1 + time.time_ns() % 1000)
    with api.tail(live, live.names.dead_letters("scorer")) as reading:
        api.send(live, live.names.requests(api.SERVICE), marked)
        letters = [msgspec.json.decode(one, type=DeadLetter) for one in reading.values(30, bool)]
    (letter,) = letters
    assert (letter.code, letter.topic) == (code, live.names.requests(api.SERVICE))
    assert named in letter.message
    assert base64.b64decode(letter.payload_base64) == marked


def test_reviews_are_counted_once_an_event_and_end_with_the_capacity(live: Context) -> None:
    service, tenant = f"test-{uuid.uuid4().hex}", live.installation.tenant
    with redis_clients.connect(live, users.ADMINISTRATOR) as store:
        capacity = policy.ReviewCapacity(store, tenant, service, ZoneInfo("UTC"))
        day, next_day = 1_534_334_400_000_000, 1_534_420_800_000_000
        try:
            assert capacity.claim(["a", "b", "c"], 2, day) == [True, True, False]
            assert capacity.claim(["c", "a"], 2, day) == [False, True]
            assert capacity.claim(["c", "d", "a"], 2, next_day) == [False, True, True]
            assert capacity.claim(["e", "f"], 2, next_day) == [True, False]
            assert capacity.claim([], 2, day) == []
        finally:
            for key in store.scan_iter(f"{tenant}:review:{service}:*"):
                store.delete(key)
