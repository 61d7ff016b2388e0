"""Reading the lake's topics from where its tables stand, and putting broken records aside."""

from __future__ import annotations

import base64
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import DeadLetter
from stream_jobs.batching import Batches, Bounds
from stream_jobs.errors import BrokenRecordError
from stream_jobs.lake.records import Broken, Raw
from stream_jobs.lake.sink import Sink

_LOGGER = logging.getLogger("writer-lake")
_METADATA_SECONDS = 5.0
_PASSING = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)


class Topics:
    """The partitions of the sinks' topics, read in order, each from the offset after the last one its table holds.

    A topic that does not exist yet, and a partition added later, joins at a later ``assign``.
    """

    def __init__(self, consumer: Consumer, sinks: Mapping[str, Sink], bounds: Bounds) -> None:
        self._consumer, self._sinks, self._batches = consumer, sinks, Batches(consumer, bounds)
        self._next: dict[tuple[str, int], int] = {}

    def assign(self) -> list[Broken]:
        """Start reading the partitions that are not read yet. Returns the gaps found. Raises KafkaException."""
        known = self._consumer.list_topics(timeout=_METADATA_SECONDS).topics
        gaps = []
        new = False
        for topic, sink in self._sinks.items():
            for partition in sorted(known[topic].partitions) if topic in known else ():
                if (topic, partition) not in self._next:
                    start, gap = self._start(topic, partition, sink.reached(partition))
                    self._next[topic, partition] = start
                    sink.expect(partition, start)
                    new = True
                    gaps += [gap] if gap else []
        if new:
            self._consumer.assign([TopicPartition(*key, offset) for key, offset in self._next.items()])
        return gaps

    def _start(self, topic: str, partition: int, reached: int | None) -> tuple[int, Broken | None]:
        first, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_METADATA_SECONDS)
        if reached is None:
            return first, None
        if first <= reached + 1 <= end:
            return reached + 1, None
        if reached + 1 < first:
            code, what = "lake.gap", f"offsets {reached + 1} to {first - 1} were deleted before the lake had them"
        else:
            code, what = "lake.topic_restarted", f"the lake holds offset {reached} but the topic ends at {end}"
        error = BrokenRecordError(
            code, f"{topic}/{partition}: {what}; going on from {first}",
            context={"topic": topic, "partition": partition, "reached": reached, "first": first, "end": end},
            hint="ask for another snapshot of the table: docs/source.md, signal",
        )  # fmt: skip
        _LOGGER.error("topic and table do not fit", exc_info=error)
        return first, Broken(Raw(topic, partition, reached, None), error)

    def read(self, seconds: float) -> dict[str, list[Raw]]:
        """Topic → records within the bounds that came in so long, in the order of each partition.

        Raises KafkaException for an error that does not pass by itself.
        """
        records: dict[str, list[Raw]] = defaultdict(list)
        for message in self._batches.take(seconds, seconds):
            error = message.error()
            if error is not None:
                if error.code() not in _PASSING:
                    raise KafkaException(error)
                continue
            topic, partition, offset = message.topic(), message.partition(), message.offset()
            assert topic is not None and partition is not None and offset is not None
            records[topic].append(Raw(topic, partition, offset, message.value()))
            self._next[topic, partition] = offset + 1
        return records

    def tell(self, topic: str, committed: Mapping[int, int]) -> None:
        """Tell the group what the table holds: for those who watch the lag; the table is what counts."""
        if committed:
            offsets = [TopicPartition(topic, partition, offset + 1) for partition, offset in committed.items()]
            self._consumer.commit(offsets=offsets, asynchronous=True)


class DeadLetters:
    """The writer's dead-letter topic."""

    def __init__(self, producer: Producer, names: Names, reader: str) -> None:
        self._producer, self._reader, self._topic = producer, reader, names.dead_letters(reader)

    def send(self, broken: Iterable[Broken]) -> None:
        """Returns when Kafka has all of them. Raises KafkaException when it does not take them in 10 s."""
        failures: list[KafkaError] = []
        for one in broken:
            letter = DeadLetter(
                reader=self._reader,
                topic=one.raw.topic,
                partition=one.raw.partition,
                offset=one.raw.offset,
                code=one.error.code,
                message=one.error.message,
                payload_base64=base64.b64encode(one.raw.value or b"").decode(),
                at=wall_us(),
            )
            self._producer.produce(
                self._topic,
                msgspec.json.encode(letter),
                on_delivery=lambda error, _: failures.append(error) if error is not None else None,
            )
        left = self._producer.flush(10.0)
        if failures:
            raise KafkaException(failures[0])
        if left:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"{left} dead letters not taken in 10 s"))
