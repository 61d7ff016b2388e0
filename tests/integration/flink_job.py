"""A Flink job of a test's own, compiled as a view's is, on an edits topic of its own."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from appliance import users
from appliance.clients import flink, kafka
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.compiler import sql
from stream_jobs.jobs import submission, wanted


@dataclass(frozen=True)
class Running:
    """A job, the topic it reads and the edits topic it writes."""

    context: Context
    source: str
    edits: str
    job: str


@contextmanager
def job(
    live: Context, name: str, source: str, join_keys: tuple[str, ...], columns: tuple[plan.Column, ...],
    declared: dict[str, str], partitions: int,
) -> Iterator[Running]:  # fmt: skip
    """Runs until the block ends. The captured table has the key ``id`` and the time ``at``."""
    edits = live.names.edits(name, 1)
    dead = live.names.dead_letters("flink")
    kafka.ensure_topics(live, {edits: {"partitions": str(partitions)}, dead: {}})
    shape = sql.ViewShape(
        group=f"{live.installation.tenant}.flink.{name}", source_topic=source, edits_topic=edits,
        dead_letter_topic=dead, join_keys=join_keys, row_id="id", event_time="at", columns=columns, declared=declared,
    )  # fmt: skip
    script = sql.script(shape, sql.KafkaAddress(kafka.bootstrap(live), partitions))
    view = plan.View(
        name=name, version=1, source=name, table="public.t", source_topic=source, edits_topic=edits, entity="e",
        join_keys=join_keys, row_id="id", event_time="at", columns=columns, features=(), sql=script,
        definition_hash="",
    )  # fmt: skip
    made = wanted.Job(f"test.{name}", view, live.layout.data / "flink" / "checkpoints" / name)
    identity = submission.submit(live, [(made, None)])[made.name]
    try:
        yield Running(live, source, edits, identity)
    finally:
        flink.cancel(live, identity)
        kafka.until(lambda: flink.call(live, f"/jobs/{identity}")["state"] == "CANCELED", "the test's job to end")
        shutil.rmtree(made.checkpoints, ignore_errors=True)
        kafka.admin(live).delete_topics([edits])


def read(context: Context, topic: str, until: int, seconds: float) -> list[tuple[int, Any, dict[str, Any]]]:
    """(partition, key, value) of at least ``until`` records, or of what came in the time; then 2 s more."""
    consumer: Consumer = kafka.consumer(context, users.ADMINISTRATOR, f"test.{uuid.uuid4().hex}")
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, each, 0) for each in partitions])
    found: list[tuple[int, Any, dict[str, Any]]] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = len(found)
        for message in consumer.consume(1000, 0.2):
            assert message.error() is None, message.error()
            found.append((message.partition() or 0, message.key(), json.loads(message.value() or b"")))
        if before < until <= len(found):
            deadline = min(deadline, time.monotonic() + 2)
    consumer.close()
    return found
