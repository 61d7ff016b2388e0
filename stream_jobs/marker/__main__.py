"""``python -m stream_jobs.marker``: reads every captured topic, and marks every partition after each batch."""

from __future__ import annotations

import logging
import signal
import threading
import time
from functools import partial

import redis as redis_client
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from appliance import alive, logs
from appliance.clients import kafka, redis
from appliance.context import current
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.marker.progress import Progress, decode, marker

_NAME = "marker"
_BATCH_SECONDS = 0.02
_BATCH_RECORDS = 2_000
_LOOK_SECONDS = 2.0
_BACK_RECORDS = 500
"""How far before a partition's end a new marker process starts to read: enough to find where the last one was."""

_LOGGER = logging.getLogger(_NAME)
Channel = tuple[str, int]


class _Marker:
    """The process's state."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._consumer: Consumer = kafka.consumer(
            context, _NAME, f"{context.installation.tenant}.{_NAME}", **{"fetch.wait.max.ms": 20}
        )
        self._producer: Producer = kafka.producer(context, _NAME, **{"linger.ms": 0})
        self._store = redis.connect(context, _NAME)
        self._progress: dict[str, Progress] = {}
        self._read: set[Channel] = set()
        self._marked: dict[str, list[Channel]] = {}

    def look(self) -> None:
        """Find sources, topics and partitions, and say that this process works.

        Raises KafkaException, ApplianceError, redis.RedisError.
        """
        context = self._context
        topics = self._consumer.list_topics(timeout=5).topics
        if context.layout.plan_file.exists():
            tables = plan.read(context.layout.plan_file).tables
            for source in {table.source for table in tables}:
                self._progress.setdefault(source, Progress())
                captured = {table.topic for table in tables if table.source == source}
                self._marked[source] = [
                    (topic, number) for topic in sorted(captured & topics.keys()) for number in topics[topic].partitions
                ]
        found = {(name, number) for name, topic in topics.items() if self._source(name) for number in topic.partitions}
        if found - self._read:
            self._assign(found)
        alive.touch(self._store, context.names, _NAME)

    def _source(self, topic: str) -> str | None:
        for source in self._progress:
            if topic.startswith(f"{self._context.names.cdc_prefix(source)}."):
                return source
        return None

    def _assign(self, found: set[Channel]) -> None:
        """Read the new partitions too, from shortly before their ends; the others from where they are."""
        places = []
        for place in self._consumer.position([TopicPartition(*channel) for channel in sorted(self._read)]):
            if place.offset >= 0:
                places.append(TopicPartition(place.topic, place.partition, place.offset))
        placed = {(place.topic, place.partition) for place in places}
        for topic, number in sorted(found - placed):
            low, high = self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=5)
            places.append(TopicPartition(topic, number, max(low, high - _BACK_RECORDS)))
        self._consumer.assign(places)
        self._read = {(place.topic, place.partition) for place in places}
        _LOGGER.info("reading", extra={"partitions": len(places)})

    def batch(self) -> None:
        """Read what has come, at most for 20 ms, and mark every partition of each source that went on."""
        if not self._read:
            time.sleep(_BATCH_SECONDS)
            return
        for message in self._consumer.consume(_BATCH_RECORDS, _BATCH_SECONDS):
            error = message.error()
            if error is not None:
                if error.code() not in (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                    raise KafkaException(error)
                continue
            source, seen = self._source(str(message.topic())), decode(message.value())
            if source is not None and seen is not None:
                self._progress[source].see(seen[0], marker=seen[1])
        for source, progress in self._progress.items():
            progress.end_of_batch()
            self._mark(progress, self._marked.get(source, []))
        self._producer.poll(0)

    def _mark(self, progress: Progress, channels: list[Channel]) -> None:
        claim = progress.claim
        for channel in progress.due(channels):
            assert claim is not None, "due is empty without a claim"
            self._producer.produce(
                channel[0],
                partition=channel[1],
                value=marker(claim, channel),
                on_delivery=partial(_delivered, progress, channel),
            )
            progress.told(channel, claim.position)

    def close(self) -> None:
        self._producer.flush(5)
        self._consumer.close()


def _delivered(progress: Progress, channel: Channel, error: KafkaError | None, _: Message) -> None:
    if error is not None:
        _LOGGER.warning("marker not delivered; it is sent again", extra={"channel": channel, "error": str(error)})
        progress.untold(channel)


def main() -> None:
    """Runs until told to stop. Kafka or Redis away: it says so, waits, and goes on."""
    logs.setup(_NAME)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    work = _Marker(current())
    looked = 0.0
    while not stop.is_set():
        try:
            if time.monotonic() - looked > _LOOK_SECONDS:
                work.look()
                looked = time.monotonic()
            work.batch()
        except (KafkaException, ApplianceError, redis_client.RedisError, BufferError) as error:
            _LOGGER.warning("waiting", exc_info=error)
            stop.wait(1.0)
    work.close()
    _LOGGER.info("stopped")


if __name__ == "__main__":
    main()
