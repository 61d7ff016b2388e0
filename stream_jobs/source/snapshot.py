"""Waits until a connector has taken its snapshot: until it streams, which it does only after the snapshot."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from confluent_kafka import Consumer, TopicPartition

from appliance import users
from appliance.clients import connect, kafka
from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.records import Change
from stream_jobs.errors import SourceError
from stream_jobs.source import connector
from stream_jobs.source.record import Source

_POLL_SECONDS = 1.0
_TELL_SECONDS = 2.0
_SILENT_SECONDS = 180
_RESTARTS = 5
_RESTART_SECONDS = 10


def wait(context: Context, source: Source, tell: Callable[[int], None]) -> int:
    """Returns the number of records in the captured tables' topics at the connector's next heartbeat.

    ``tell`` is given that number now and then (transactions' own records are counted too, so it is a little high).
    A connector that fails is started again, its snapshot with it. Raises SourceError when it fails again and again, or
    when for three minutes nothing comes.
    """
    consumer = kafka.consumer(context, users.ADMINISTRATOR, f"{context.installation.tenant}.{users.ADMINISTRATOR}.wait")
    try:
        return _wait(context, source, consumer, tell)
    finally:
        consumer.close()


def _wait(context: Context, source: Source, consumer: Consumer, tell: Callable[[int], None]) -> int:
    beat = context.names.cdc(source.name, connector.OWN_TABLES[0])
    _, high = consumer.get_watermark_offsets(TopicPartition(beat, 0), timeout=10)
    consumer.assign([TopicPartition(beat, 0, high)])
    topics = [context.names.cdc(source.name, table.name) for table in source.tables]
    records, moved_at, told_at, restarts, restarted_at = -1, time.monotonic(), 0.0, 0, time.monotonic()
    while True:
        message = consumer.poll(_POLL_SECONDS)
        if message is not None and not message.error() and _streamed(message.value()):
            return _records(consumer, topics)
        now, count = time.monotonic(), _records(consumer, topics)
        if count != records:
            records, moved_at = count, now
        if now - told_at > _TELL_SECONDS:
            tell(records)
            told_at = now
        reason = _failure(context, source) if now - restarted_at > _RESTART_SECONDS else None
        if reason and restarts == _RESTARTS:
            raise SourceError(
                "source.connector", f"connector {connector.name(context, source)} fails again and again: {reason}",
                hint="appliance logs connect",
            )  # fmt: skip
        if reason:
            connect.restart_failed(context)
            restarts, restarted_at = restarts + 1, now
        if now - moved_at > _SILENT_SECONDS:
            raise SourceError(
                "source.silent", f"nothing has come from {source.address} for {_SILENT_SECONDS} s",
                hint=f"appliance logs connect; appliance source check {source.name}",
            )  # fmt: skip


def _streamed(value: bytes | None) -> bool:
    """Whether a record of the heartbeat table was streamed, not found by the snapshot."""
    return value is not None and msgspec.json.decode(value, type=Change).op == "u"


def _records(consumer: Consumer, topics: list[str]) -> int:
    total = 0
    for topic in topics:
        for number in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            total += high - low
    return total


def _failure(context: Context, source: Source) -> str | None:
    try:
        return connector.failure(context, source)
    except NotReadyError:  # Connect is busy with a rebalance
        return None
