"""``python -m stream_jobs.marker``: reads every captured topic, and marks every partition after each batch."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from functools import partial

import redis as redis_client
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from appliance import alive, logs, notices
from appliance.clients import kafka, redis
from appliance.context import current
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.marker import order
from stream_jobs.marker.order import Order
from stream_jobs.marker.progress import Channel, Point, Progress, decode, going_on, marker
from stream_jobs.mending import mends
from stream_jobs.mending.mends import Held, Mend

_NAME = "marker"
_BATCH_SECONDS = 0.02
_ANSWER_SECONDS = 0.004
"""As ``_BATCH_SECONDS``, while an answer to a probe is awaited."""
_BATCH_RECORDS = 2_000
_LOOK_SECONDS = 2.0
_BACK_RECORDS = 500
"""How far before a partition's end a new marker process starts to read, at least: to find what the last one claimed."""

_LOGGER = logging.getLogger(_NAME)


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
        self._read: dict[Channel, int] = {}
        self._marked: dict[str, list[Channel]] = {}
        self._run = f"{_NAME}/{os.getpid()}/{time.time_ns()}"
        self._held: dict[str, Held] = {}
        self._order: dict[str, Order] = {}
        self._out_of_order: set[str] = set()

    def look(self) -> None:
        """Find sources, topics and partitions, and say that this process works.

        Raises KafkaException, ApplianceError, redis.RedisError.
        """
        context = self._context
        topics = self._consumer.list_topics(timeout=5).topics
        if context.layout.plan_file.exists():
            tables = plan.read(context.layout.plan_file).tables
            posted = {notice.name for notice in notices.read(context.layout)}
            self._out_of_order = {each for each in self._progress if order.notice(each) in posted}
            for source in {table.source for table in tables}:
                self._progress.setdefault(source, Progress())
                captured = {table.topic for table in tables if table.source == source}
                self._marked[source] = [
                    (topic, number) for topic in sorted(captured & topics.keys()) for number in topics[topic].partitions
                ]
        found = {(name, number) for name, topic in topics.items() if self._source(name) for number in topic.partitions}
        if found - self._read.keys():
            self._assign(found)
        self._remember()
        alive.touch(self._store, context.names, _NAME)

    def _source(self, topic: str) -> str | None:
        for source in self._progress:
            if topic.startswith(f"{self._context.names.cdc_prefix(source)}."):
                return source
        return None

    def _assign(self, found: set[Channel]) -> None:
        """Read the new partitions too; the others from where they are.

        A partition is read from where the last process had seen everything, so that no truncate is missed, and from at
        least a little before its end.
        """
        told = self._consumer.position([TopicPartition(*channel) for channel in sorted(self._read)])
        places = going_on(self._read, ((place.topic, place.partition, place.offset) for place in told))
        new = [TopicPartition(*channel) for channel in sorted(found - places.keys())]
        for place in self._consumer.committed(new, timeout=10) if new else []:
            low, high = self._consumer.get_watermark_offsets(place, timeout=5)
            start = max(low, min(place.offset, high - _BACK_RECORDS)) if place.offset >= 0 else low
            places[place.topic, place.partition] = start
        self._consumer.assign([TopicPartition(*channel, offset) for channel, offset in sorted(places.items())])
        self._read = places
        _LOGGER.info("reading", extra={"partitions": len(places)})

    def _remember(self) -> None:
        """Commit up to where everything has been seen and every truncate is a mend."""
        places = self._consumer.position([TopicPartition(*channel) for channel in sorted(self._read)])
        if reached := [place for place in places if place.offset >= 0]:
            self._consumer.commit(offsets=reached, asynchronous=True)

    def batch(self) -> None:
        """Read what has come, at most for 20 ms, and mark every partition of each source that went on."""
        if not self._read:
            time.sleep(_BATCH_SECONDS)
            return
        probing = any(progress.probing for progress in self._progress.values())
        for message in self._consumer.consume(_BATCH_RECORDS, _ANSWER_SECONDS if probing else _BATCH_SECONDS):
            error = message.error()
            if error is None:
                self._take(message)
            elif error.code() not in (KafkaError._PARTITION_EOF, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN):
                raise KafkaException(error)
        holding = [mend for mend in mends.unfinished(self._context) if mend.holds]
        for source, progress in self._progress.items():
            mine = [mend for mend in holding if mend.source == source]
            limit = min((mend.limit for mend in mine), default=None)
            progress.end_of_batch()
            progress.decide(limit)
            if source not in self._out_of_order:
                self._mark(progress, self._marked.get(source, []))
            self._say_held(source, progress.claim, mine)
            self._probe(progress, limit, self._marked.get(source, []))
        self._producer.poll(0)

    def _take(self, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None and partition is not None and offset is not None
        source = self._source(topic)
        if source is None:
            return
        progress = self._progress[source]
        if message.value() is None:
            run, _, number = (message.key() or b"").decode(errors="replace").rpartition("/")
            if run == self._run:
                progress.answer((topic, partition), int(number))
            return
        sight = decode(message.value())
        if sight is None:
            return
        before = self._order.setdefault(source, Order()).broken((topic, partition), sight)
        if before is not None:
            _LOGGER.error("positions went back", extra={"source": source, "topic": topic, "partition": partition})
            order.post(self._context.layout, source, (topic, partition), before, sight.point.position)
            self._out_of_order.add(source)
        progress.see(sight)
        if sight.kind == "truncate" and (topic, partition) in self._marked.get(source, []):
            self._truncated(source, (topic, partition), offset, sight.point)

    def _truncated(self, source: str, channel: Channel, offset: int, at: Point) -> None:
        """Let ``mender`` write the deletes; until they stand in the log nothing from here on is claimed."""
        topic, partition = channel
        table = topic.removeprefix(f"{self._context.names.cdc_prefix(source)}.")
        name = f"truncate-{source}-{table}-{partition}-{offset}"
        if mends.known(self._context, name):
            return
        _LOGGER.warning(
            "table truncated; markers wait for its deletes", extra={"table": table, "position": at.position}
        )
        mends.write(
            self._context,
            Mend(
                id=name, source=source, kind="truncate", reason=f"{table} was truncated", at=time.time_ns() // 1000,
                tables=(table,), step="delete", holds=True, position=at.position, known_at=at.known_at,
            ),
        )  # fmt: skip

    def _say_held(self, source: str, claim: Point | None, holding: list[Mend]) -> None:
        """Answer the mends that ask for it: what was claimed before they held."""
        if claim is None or not holding:
            self._held.pop(source, None)
            return
        held = Held(tuple(mend.id for mend in holding), claim.position, claim.known_at)
        if self._held.get(source) != held:
            mends.hold(self._context, source, held)
            self._held[source] = held

    def _probe(self, progress: Progress, limit: str | None, channels: list[Channel]) -> None:
        number = progress.probe(channels, limit)
        if number is None:
            return
        for topic, partition in channels:
            self._producer.produce(
                topic, partition=partition, key=f"{self._run}/{number}", value=None,
                on_delivery=partial(_probed, progress, number),
            )  # fmt: skip

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


def _probed(progress: Progress, number: int, error: KafkaError | None, _: Message) -> None:
    if error is not None:
        _LOGGER.warning("probe not delivered; another one is sent", extra={"error": str(error)})
        progress.give_up(number)


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
