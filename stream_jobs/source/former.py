"""How far a source was read before, by whatever connector: from the records of its heartbeat table."""

from __future__ import annotations

import msgspec
from confluent_kafka import Consumer, TopicPartition

from appliance import position, users
from appliance.clients import kafka
from appliance.parts.base import Context
from appliance.records import Change
from stream_jobs.source.record import SCHEMA, Source

_RECORDS = 100
_SECONDS = 10
_IDLE_SECONDS = 2.0


def highest(context: Context, source: Source) -> str | None:
    """The highest position among the newest heartbeats; None when there never was one."""
    topic = context.names.cdc(source.name, f"{SCHEMA}.heartbeat")
    consumer = kafka.consumer(
        context, users.ADMINISTRATOR, f"{context.installation.tenant}.{users.ADMINISTRATOR}.former"
    )
    try:
        if topic not in consumer.list_topics(timeout=_SECONDS).topics:
            return None
        return _highest(consumer, TopicPartition(topic, 0))
    finally:
        consumer.close()


def _highest(consumer: Consumer, place: TopicPartition) -> str | None:
    low, high = consumer.get_watermark_offsets(place, timeout=_SECONDS)
    if low == high:
        return None
    place.offset = max(low, high - _RECORDS)
    consumer.assign([place])
    found: list[str] = []
    while batch := consumer.consume(_RECORDS, _IDLE_SECONDS):
        for message in batch:
            value = message.value()
            if message.error() or value is None:
                continue
            change = msgspec.json.decode(value, type=Change)
            if change.op != "m":
                found.append(position.of(change.source, change.appliance_base))
    return max(found, default=None)
