"""How far the lake holds a captured table's topic, and waiting until it holds what has been captured so far."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs.errors import RebuildError
from stream_jobs.lake import delta
from stream_jobs.lake.sink import application_id
from stream_jobs.plan import CapturedTable
from stream_jobs.rebuild import from_lake

LAKE_SECONDS = 120.0
"""How long a rebuild waits for the lake, which commits every ``lake.flush_interval_ms`` when it keeps up."""

_METADATA_SECONDS = 10.0
_LOOK_SECONDS = 0.5
_MARKER = "m"


@dataclass(frozen=True)
class Held:
    """A version of a change table. next_offsets: partition → offset of the first record that it does not hold.

    It holds every change of the partition's records before that offset and none of the others.
    """

    version: int
    next_offsets: Mapping[int, int]


class _Op(msgspec.Struct, frozen=True):
    op: str = ""


_DECODER = msgspec.json.Decoder(_Op)


def held(context: Context, table: CapturedTable, consumer: Consumer) -> Held:
    """The newest version. Raises LakeError when there is no table, KafkaException when Kafka does not answer.

    A partition of which the table holds nothing begins at 0.
    """
    opened = delta.open_table(from_lake.path(context, table))
    reached = delta.reached(opened)
    known = {number: reached.get(application_id(table.topic, number), -1) + 1 for number in ends(table, consumer)}
    return Held(opened.version(), known)


def ends(table: CapturedTable, consumer: Consumer) -> dict[int, int]:
    """Partition → offset after its last committed record, now. Raises KafkaException."""
    known = consumer.list_topics(table.topic, timeout=_METADATA_SECONDS).topics[table.topic]
    if known.error is not None:
        raise KafkaException(known.error)
    found = {}
    for number in sorted(known.partitions):
        _, found[number] = consumer.get_watermark_offsets(
            TopicPartition(table.topic, number), timeout=_METADATA_SECONDS
        )
    return found


def wait(
    context: Context,
    table: CapturedTable,
    consumer: Consumer,
    until: Mapping[int, int],
    timeout_seconds: float,
    waiting: Callable[[], None] = lambda: None,
) -> Held:
    """The first version seen that holds every change before the offsets ``until``; ``waiting`` is called meanwhile.

    The writer does not commit for markers alone: what lies between a version and ``until`` is read, and a tail without
    a change is no reason to wait. Raises RebuildError when the lake has not got there in time.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        now = held(context, table, consumer)
        behind = {
            number: (now.next_offsets.get(number, 0), end)
            for number, end in until.items()
            if now.next_offsets.get(number, 0) < end
        }
        missing = [number for number, span in behind.items() if _holds_a_change(consumer, table.topic, number, *span)]
        if not missing:
            return now
        if time.monotonic() > deadline:
            raise RebuildError(
                "rebuild.lake_behind",
                f"the lake lacks changes of {table.table} that were captured {timeout_seconds:.0f} s ago",
                context={"topic": table.topic, "partitions": missing, "behind": {str(k): v for k, v in behind.items()}},
                hint="appliance status; appliance logs writer-lake",
            )
        waiting()
        time.sleep(_LOOK_SECONDS)


def _holds_a_change(consumer: Consumer, topic: str, partition: int, begin: int, end: int) -> bool:
    """Whether one of the records from ``begin`` to before ``end`` is anything but a marker or a tombstone."""
    consumer.assign([TopicPartition(topic, partition, begin)])
    deadline = time.monotonic() + _METADATA_SECONDS
    try:
        while True:
            for message in consumer.consume(10_000, 0.1):
                if (error := message.error()) is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        return False
                    raise KafkaException(error)
                if (message.offset() or 0) >= end:
                    return False
                if not _is_marker(message.value()):
                    return True
                deadline = time.monotonic() + _METADATA_SECONDS
            if time.monotonic() > deadline:
                raise RebuildError("rebuild.kafka_slow", f"{topic}/{partition} gives nothing after offset {begin}")
    finally:
        consumer.unassign()


def consumer(context: Context) -> Consumer:
    """A consumer that also says where a partition ends, as this module needs it."""
    group = f"{context.names.tenant}.rebuild"
    return kafka.consumer(context, users.ADMINISTRATOR, group, **{"enable.partition.eof": True})


def _is_marker(value: bytes | None) -> bool:
    if value is None:
        return True
    try:
        return _DECODER.decode(value).op == _MARKER
    except msgspec.DecodeError:
        return False
