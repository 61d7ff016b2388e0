"""The gateway of the running appliance, called as an app of its own; rows that are new to it."""

from __future__ import annotations

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from appliance import users
from appliance.clients import kafka, postgres
from appliance.clients import redis as redis_clients
from appliance.clock import Clock
from appliance.parts.base import Context
from appliance.ports import Port
from appliance.records import Alert, FeatureValue, Prediction
from gateway import apps, database
from gateway.scoring import identity

SERVICE = "card_fraud"
PREDICT = f"/v1/services/{SERVICE}/predict"
_ids = itertools.count(int(time.time() * 1_000) * 1_000)
"""Transaction ids above every one of the scenario, new in each run."""


def base_url(context: Context) -> str:
    return f"http://127.0.0.1:{context.port(Port.GATEWAY)}"


@contextmanager
def an_app(context: Context, services: list[str] | None = None) -> Iterator[tuple[str, str]]:
    """Id and token of an app made for the test and revoked after it."""
    database.create_tables(context)
    app, token = apps.create(context, "test", services, 1)
    try:
        yield app.id, token
    finally:
        apps.revoke(context, app.id)


@contextmanager
def app_client(context: Context, services: list[str] | None = None) -> Iterator[httpx.Client]:
    """A client of an app made for the test."""
    with an_app(context, services) as (app_id, token):
        headers = {"X-App-Id": app_id, "Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=base_url(context), headers=headers, timeout=20) as client:
            yield client


def scenario_now_us(context: Context) -> int:
    with redis_clients.connect(context, users.ADMINISTRATOR) as store:
        return Clock(store, context.names.redis_clock()).now_us()


def busy_pair(context: Context) -> tuple[int, int]:
    """A customer with many payments and a terminal with labels, both of the sample database."""
    with postgres.sample(context) as bank:
        customer = bank.execute(
            "select customer_id from transactions where tx_datetime > (select max(tx_datetime) from transactions)"
            " - interval '10 days' group by customer_id order by count(*) desc, customer_id limit 1"
        ).fetchone()
        terminal = bank.execute(
            "select terminal_id from transaction_labels where labelled_at > (select max(labelled_at) from"
            " transaction_labels) - interval '10 days' group by terminal_id order by count(*) desc, terminal_id limit 1"
        ).fetchone()
    assert customer and terminal, "the sample database has no payments or no labels"
    return int(customer[0]), int(terminal[0])


def payment(context: Context, **changed: Any) -> dict[str, Any]:
    """A payment nobody has seen, an hour ago by the appliance clock, of entities that have a past."""
    customer, terminal = busy_pair(context)
    return {
        "transaction_id": next(_ids),
        "tx_datetime": (scenario_now_us(context) // 1_000_000 - 3_600) * 1_000_000,
        "customer_id": customer,
        "terminal_id": terminal,
        "tx_amount": "87.65",
    } | changed


def alert(context: Context, **changed: Any) -> Alert:
    """An alert of an invented payment, now by the appliance clock."""
    now = scenario_now_us(context)
    row = {"transaction_id": time.time_ns(), "tx_datetime": now, "customer_id": 987_654_321_007,
           "terminal_id": 987_654_321_008, "tx_amount": "321.00"}  # fmt: skip
    fields: dict[str, Any] = {
        "prediction_id": str(uuid.uuid4()), "tenant": context.installation.tenant, "service": SERVICE, "way": "http",
        "event_key": str(row["transaction_id"]), "source_position": "", "request_id": "test", "app": "test",
        "as_of": now, "row": row, "features": {"request:amount": FeatureValue(321.0, "present")}, "cuts": {},
        "reached": {}, "behind": False, "score": 0.625, "decision": "review",
        "reason": "a zebra paid at the zoo", "kind": "test kind", "model": "card_fraud", "model_version": "1",
        "definition_hash": "", "committed_at": 0, "scored_at": time.time_ns() // 1000, "spent_us": {},
    }  # fmt: skip
    prediction = Prediction(**(fields | changed))
    return Alert(identity.alert_id(prediction.tenant, prediction.service, prediction.event_key), prediction)


class Tail:
    """Records that come to a topic after this was made."""

    def __init__(self, context: Context, topic: str) -> None:
        group = f"main.appliance.test-{uuid.uuid4().hex}"
        self._consumer = kafka.from_end(context, users.ADMINISTRATOR, group, topic)

    def values(self, seconds: float, enough: Callable[[list[bytes]], bool]) -> list[bytes]:
        """Values of the records, until there are enough or the time is over."""
        found: list[bytes] = []
        deadline = time.monotonic() + seconds
        while not enough(found) and time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is not None and message.error() is None:
                found.append(message.value() or b"")
        return found

    def close(self) -> None:
        self._consumer.close()


@contextmanager
def tail(context: Context, topic: str) -> Iterator[Tail]:
    reading = Tail(context, topic)
    try:
        yield reading
    finally:
        reading.close()


def predictions_of(reading: Tail, event_key: str, number: int, seconds: float = 30) -> list[Prediction]:
    """Up to ``number`` predictions of an event."""

    def mine(values: list[bytes]) -> list[Prediction]:
        decoded = (msgspec.json.decode(value, type=Prediction) for value in values)
        return [prediction for prediction in decoded if prediction.event_key == event_key]

    return mine(reading.values(seconds, lambda values: len(mine(values)) >= number))


def send(context: Context, topic: str, *values: bytes) -> None:
    """Write records as the administrator; returns when they are acknowledged."""
    producer = kafka.producer(context, users.ADMINISTRATOR)
    for value in values:
        producer.produce(topic, value)
    assert producer.flush(20) == 0


def insert(context: Context, row: dict[str, Any]) -> None:
    """Commit a payment to the sample business database."""
    with postgres.sample(context) as bank:
        bank.execute(
            "insert into transactions (transaction_id, tx_datetime, customer_id, terminal_id, tx_amount)"
            " values (%(transaction_id)s, to_timestamp(%(tx_datetime)s / 1000000.0), %(customer_id)s, %(terminal_id)s,"
            " %(tx_amount)s)",
            row,
        )


def eventually(what: Callable[[], Any], seconds: float = 20) -> Any:
    """The first true answer. Fails when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = what()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds} s; last answer: {answer!r}"
        time.sleep(0.1)
