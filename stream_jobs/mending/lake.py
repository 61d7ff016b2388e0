"""Whether the lake holds all that stands in a topic now, and what of it is to be taken out of the edit log."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from appliance.parts.base import Context
from stream_jobs.lake import reach, state_at
from stream_jobs.lake.reading import Limits, connect
from stream_jobs.mending import compare
from stream_jobs.plan import CapturedTable

_LIMITS = Limits(memory_mib=512, threads=1)
_BATCH_ROWS = 2_000
_LOGGER = logging.getLogger("mender")

Fences = dict[str, dict[int, int]]
"""Topic → partition → offset of a record without meaning; the lake has all that stands before it or not yet."""


def fence(producer: Producer, topics: Sequence[str]) -> Fences:
    """Put one into every partition of the topics. Raises KafkaException when Kafka does not take them in 10 s."""
    found: Fences = {topic: {} for topic in topics}
    failures: list[KafkaError] = []

    def delivered(error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        if error is not None or topic is None or partition is None or offset is None:
            failures.append(error or KafkaError(KafkaError._FAIL))
        else:
            found[topic][partition] = offset

    for topic in topics:
        for partition in producer.list_topics(topic, timeout=10).topics[topic].partitions:
            producer.produce(topic, None, key="mender", partition=partition, on_delivery=delivered)
    if producer.flush(10) or failures:
        raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT))
    return found


def passed(context: Context, tables: Sequence[CapturedTable], fences: Fences) -> bool:
    """Whether the lake holds every change of the tables that stands before the fences."""
    for table in tables:
        offsets = reach.read(state_at.changes_path(context, table)).offsets
        for partition, offset in fences[table.topic].items():
            if offsets.get(partition, 0) <= offset:
                return False
    return True


def strays(
    context: Context, table: CapturedTable, position: str, expected: str
) -> Iterator[tuple[Sequence[Any], Sequence[Any] | None]]:
    """(image that is to go, the row as it is or None) of every stray of ``compare``, in bounded memory.

    Values as Debezium writes them. expected: SQL text made by ``compare``.
    """
    width = len(table.columns)
    with connect(context.run("mender"), _LIMITS) as connection:
        found = compare.stray(table, state_at.changes_path(context, table), position, expected)
        result = connection.execute(compare.wire(table, found))
        while batch := result.fetchmany(_BATCH_ROWS):
            for row in batch:
                yield row[:width], row[width:-1] if row[-1] else None
