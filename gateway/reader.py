"""Kafka topics read by exactly one process: partitions assigned by hand, so a restart needs no group rebalance."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from gateway.errors import PartDownError

_LOOK_FOR_MISSING_SECONDS = 2.0
_LOOK_AGAIN_SECONDS = 30.0
_CALL_SECONDS = 5.0

Start = Callable[[list[TopicPartition]], list[TopicPartition]]


def committed(consumer: Consumer) -> Start:
    """Start where the group has committed, else at the earliest record."""

    def start(partitions: list[TopicPartition]) -> list[TopicPartition]:
        found = consumer.committed(partitions, timeout=_CALL_SECONDS)
        return [TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else OFFSET_BEGINNING) for p in found]

    return start


class TopicReader:
    """Reads all partitions of some topics, and of those that are made later. Not for several threads.

    start: says from which offset each new partition is read. Raises PartDownError when Kafka does not answer.
    """

    def __init__(self, consumer: Consumer, topics: Sequence[str], start: Start) -> None:
        self._consumer = consumer
        self._topics = frozenset(topics)
        self._start = start
        self._assigned: set[tuple[str, int]] = set()
        self._looked_at = float("-inf")

    def _look(self) -> None:
        """Take over partitions that are new."""
        self._looked_at = time.monotonic()
        try:
            there = self._consumer.list_topics(timeout=_CALL_SECONDS).topics
            new = {
                (name, partition)
                for name in self._topics & there.keys()
                if there[name].error is None
                for partition in there[name].partitions
            } - self._assigned
            if new:
                self._consumer.incremental_assign(self._start([TopicPartition(*pair) for pair in sorted(new)]))
                self._assigned |= new
        except KafkaException as error:
            raise PartDownError("kafka", error.args[0]) from error

    def missing(self) -> frozenset[str]:
        """Topics that do not exist yet."""
        return self._topics - {topic for topic, _ in self._assigned}

    def poll(self, most: int, wait_seconds: float) -> list[Message]:
        """Up to ``most`` records: waits for the first one, then takes what has already been fetched."""
        if time.monotonic() - self._looked_at >= (_LOOK_FOR_MISSING_SECONDS if self.missing() else _LOOK_AGAIN_SECONDS):
            self._look()
        first = self._consumer.poll(wait_seconds)
        if first is None:
            return []
        messages = [first, *(self._consumer.consume(most - 1, 0) if most > 1 else [])]
        return [message for message in messages if self._usable(message)]

    @staticmethod
    def _usable(message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() in (KafkaError._PARTITION_EOF, KafkaError.UNKNOWN_TOPIC_OR_PART):
            return False
        raise PartDownError("kafka", error)


def place(message: Message) -> tuple[str, int, int]:
    """Topic, partition and offset of a record."""
    return message.topic() or "", message.partition() or 0, message.offset() or 0


def next_offsets(messages: Iterable[Message]) -> list[TopicPartition]:
    """The offsets to commit once these records are done."""
    last: dict[tuple[str, int], int] = {}
    for topic, partition, offset in map(place, messages):
        last[topic, partition] = max(offset, last.get((topic, partition), -1))
    return [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in last.items()]
