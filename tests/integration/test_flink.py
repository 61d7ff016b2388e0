"""The compiled SQL on the running Flink cluster and Kafka, against an oracle."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer

from appliance import users
from appliance.clients import flink, kafka
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.marker.progress import Point, marker
from tests.integration import flink_oracle as oracle
from tests.integration.flink_job import Running, job, read

pytestmark = pytest.mark.integration

_PARTITIONS = 3
_COLUMNS = (
    plan.Column("amount", "decimal", 2),
    plan.Column("ok", "bool"),
    plan.Column("weight", "float64"),
    plan.Column("note", "string"),
    plan.Column("seen", "timestamp_us"),
)
_DECLARED = {
    "id": "int64", "customer": "int64", "place": "string", "at": "timestamptz", "amount": "decimal", "ok": "bool",
    "weight": "float64", "note": "string", "seen": "timestamp",
}  # fmt: skip


@pytest.fixture(scope="module")
def running(live: Context) -> Iterator[Running]:
    name = f"flinktest{uuid.uuid4().hex[:8]}"
    source = live.names.cdc(name, "public.t")
    kafka.ensure_topics(live, {source: {"partitions": "2"}})
    with job(live, name, source, ("customer", "place"), _COLUMNS, _DECLARED, _PARTITIONS) as made:
        yield made
    kafka.admin(live).delete_topics([source])


def _send(context: Context, topic: str, values: list[bytes | None]) -> dict[tuple[int, int], int]:
    """Produce to the topic's two partitions in turn; (partition, offset) → index of the value."""
    producer: Producer = kafka.producer(context, users.ADMINISTRATOR)
    places: dict[tuple[int, int], int] = {}
    for index, value in enumerate(values):

        def arrived(error: Any, message: Any, index: int = index) -> None:
            assert error is None, error
            places[message.partition(), message.offset()] = index

        producer.produce(topic, value=value, key=b"k", partition=index % 2, on_delivery=arrived)
        producer.poll(0)
    producer.flush(30)
    return places


def _frozen(values: list[dict[str, Any]]) -> set[str]:
    return {json.dumps(each, sort_keys=True) for each in values}


def test_edits_and_dead_letters_are_those_of_the_oracle(running: Running) -> None:
    context = running.context
    sent = list(oracle.records(4000, seed=7))
    places = _send(context, running.source, [record.value for record in sent])
    expected = [edit for record in sent for edit in record.edits]
    found = read(context, running.edits, len(expected), 90)
    edits = [value for _, _, value in found if value["sign"] != 0]
    assert len(edits) >= len(expected)
    missing = _frozen(expected) - _frozen(edits)
    surplus = _frozen(edits) - _frozen(expected)
    assert (len(missing), len(surplus)) == (0, 0), (sorted(missing)[:3], sorted(surplus)[:3])
    assert all(key.decode() == value["entity"] for _, key, value in found if value["sign"] != 0)
    letters = [
        v for _, _, v in read(context, context.names.dead_letters("flink"), 1, 8) if v["topic"] == running.source
    ]
    wanted_letters = {(*place, code) for place, index in places.items() for code in sent[index].dead}
    assert {(each["partition"], each["offset"], each["code"]) for each in letters} == wanted_letters
    assert len({code for _, _, code in wanted_letters}) >= 10
    payloads = {(each["partition"], each["offset"]): base64.b64decode(each["payload_base64"]) for each in letters}
    sound = {place: sent[index].value for place, index in places.items() if sent[index].dead}
    assert all(payloads[place] == value for place, value in sound.items() if value and b"\xff" not in value)


def test_a_marker_comes_into_every_partition_after_the_edits_of_its_channel(running: Running) -> None:
    context = running.context
    value = next(record.value for record in oracle.records(1, seed=3))
    point = Point("f" * 31 + "0", 77)
    _send(context, running.source, [value] * 200)
    for partition in range(2):
        producer: Producer = kafka.producer(context, users.ADMINISTRATOR)
        producer.produce(running.source, marker(point, (running.source, partition)), partition=partition)
        producer.flush(10)
    deadline = time.monotonic() + 30
    seen: set[tuple[int, str]] = set()
    while len(seen) < 2 * _PARTITIONS and time.monotonic() < deadline:
        found = read(context, running.edits, 0, 3)
        seen = {(p, v["channel"]) for p, _, v in found if v["sign"] == 0 and v["position"] == point.position}
    assert seen == {(p, f"{running.source}/{c}") for p in range(_PARTITIONS) for c in range(2)}
    last = {p: v for p, _, v in found}
    assert all(edit["sign"] == 0 and edit["known_at"] == 77 for edit in last.values())


def test_no_answer_of_flink_shows_the_password(running: Running) -> None:
    context = running.context
    password = context.secrets.get("kafka.flink")
    for path in (
        "/jobmanager/config",
        f"/jobs/{running.job}",
        f"/jobs/{running.job}/config",
        f"/jobs/{running.job}/plan",
    ):
        assert password not in json.dumps(flink.call(context, path))
