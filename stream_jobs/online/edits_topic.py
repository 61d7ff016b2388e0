"""Reading the edits topics of a plan: batches of edits, each partition in its order, from offsets the writer names.

Partitions are assigned by hand and not by the group: a kind of writer is one process that knows from its store where it
stands, and after kill -9 it goes on at once instead of after the group's session time. The offsets committed for the
group serve whoever looks at the lag, and the writers whose store keeps no offsets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from appliance.errors import ApplianceError
from appliance.records import Edit
from stream_jobs.batching import Batches, Bounds
from stream_jobs.errors import EditError
from stream_jobs.plan import View

Partition = tuple[str, int]
"""Topic and partition."""

_FIRST_WAIT_SECONDS = 0.25
_METADATA_SECONDS = 5.0
_DECODER = msgspec.json.Decoder(Edit)


@dataclass(frozen=True)
class Received:
    """An edit or a marker, with the record it came in."""

    view: View
    message: Message
    edit: Edit


@dataclass(frozen=True)
class Unusable:
    """A record that is not what its topic should hold."""

    message: Message
    error: ApplianceError


@dataclass
class Batch:
    """What one read gave. offsets: where each partition that gave something goes on."""

    received: list[Received] = field(default_factory=list)
    unusable: list[Unusable] = field(default_factory=list)
    offsets: dict[Partition, int] = field(default_factory=dict)


class EditsTopics:
    """The edits topics of some views, read with a consumer of committed records."""

    def __init__(self, consumer: Consumer, views: Iterable[View], bounds: Bounds) -> None:
        self._consumer, self._batches = consumer, Batches(consumer, bounds)
        self._views = {view.edits_topic: view for view in views}

    def partitions(self) -> list[Partition]:
        """Every partition of the topics that exist. Raises KafkaException when Kafka does not answer."""
        return [one for topic in self._views for one in self.partitions_of(topic)]

    def partitions_of(self, topic: str) -> list[Partition]:
        """The partitions of any topic; none if it does not exist. Raises KafkaException when Kafka does not answer."""
        known = self._consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
        if known.error is not None and known.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise KafkaException(known.error)
        return [(topic, partition) for partition in sorted(known.partitions)]

    def committed(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The group's committed offsets, of those partitions that have one."""
        asked = [TopicPartition(*partition) for partition in partitions]
        found = self._consumer.committed(asked, timeout=_METADATA_SECONDS) if asked else []
        return {(one.topic, one.partition): one.offset for one in found if one.offset >= 0}

    def go_to(self, offsets: Mapping[Partition, int | None]) -> None:
        """Read these partitions from these offsets; None is the oldest record there is."""
        self._consumer.assign(
            [
                TopicPartition(topic, partition, -2 if offset is None else offset)  # -2: librdkafka's OFFSET_BEGINNING
                for (topic, partition), offset in offsets.items()
            ]
        )

    def read(self) -> Batch:
        """Records within the bounds: waits up to 250 ms for the first one and takes what else is there at once.

        Raises KafkaException for an error that does not pass by itself.
        """
        batch = Batch()
        for message in self._batches.take(_FIRST_WAIT_SECONDS):
            self._add(batch, message)
        return batch

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Tell the group where it stands, after the store has the edits; does not wait for the answer."""
        if offsets:
            told = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
            self._consumer.commit(offsets=told, asynchronous=True)

    def _add(self, batch: Batch, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() in (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
                return
            raise KafkaException(error)
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        batch.offsets[topic, partition] = offset + 1
        try:
            batch.received.append(Received(self._views[topic], message, _DECODER.decode(message.value() or b"")))
        except msgspec.MsgspecError as problem:
            batch.unusable.append(Unusable(message, EditError("edit.unreadable", f"not an edit: {problem}")))
