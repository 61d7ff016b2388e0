"""One step of the work on a mend. Every step can be done again after a kill: what was written is found in the lake."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.lake import state_at
from stream_jobs.lake.reading import connect
from stream_jobs.mending import compare, lake, mends
from stream_jobs.mending.changes import Encoder, above
from stream_jobs.mending.mends import Mend
from stream_jobs.plan import CapturedTable
from stream_jobs.source import record

NAME = "mender"
_FLUSH_SECONDS = 60.0
_TOUCH_ROWS = 2_000
LOGGER = logging.getLogger(NAME)


class Work:
    """What the steps share: the log to write to, and which fences the lake has still to pass."""

    def __init__(self, context: Context, alive: Callable[[], None]) -> None:
        self.context, self._alive = context, alive
        self._producer: Producer = kafka.producer(context, NAME, **{"partitioner": "murmur2_random"})
        self._fences: dict[str, lake.Fences] = {}
        self._failure: KafkaError | None = None
        self._told = time.monotonic()

    def tables(self, mend: Mend) -> list[CapturedTable]:
        """Those of the mend's tables that the plan captures; nothing is made of the others."""
        captured = plans.read(self.context.layout.plan_file).tables
        return [table for table in captured if table.source == mend.source and table.table in mend.tables]

    def in_lake(self, mend: Mend, tables: Sequence[CapturedTable]) -> bool:
        """Whether the lake has all that stood in the tables' topics when this was first asked in this step."""
        key = f"{mend.id} {mend.step}"
        if key not in self._fences:
            self._fences[key] = lake.fence(self._producer, [table.topic for table in tables])
        if lake.passed(self.context, tables, self._fences[key]):
            del self._fences[key]
            return True
        return False

    def end_of(self, topic: str) -> int:
        """Offset behind the last record of partition 0 now."""
        reader = kafka.consumer(self.context, NAME, f"{self.context.names.tenant}.{NAME}")
        try:
            return reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
        finally:
            reader.close()

    def read(self, topic: str, start: int) -> list[bytes]:
        """The values in partition 0 from that offset to the end, without those that are none."""
        reader = kafka.consumer(
            self.context, NAME, f"{self.context.names.tenant}.{NAME}", **{"enable.partition.eof": True}
        )
        found = []
        try:
            reader.assign([TopicPartition(topic, 0, start)])
            while (message := reader.poll(5.0)) is not None:
                error = message.error()
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    break
                if error is not None:
                    raise KafkaException(error)
                if (value := message.value()) is not None:
                    found.append(value)
        finally:
            reader.close()
        return found

    def take_out(self, mend: Mend, table: CapturedTable, at: str, known_at: int, expected: str) -> int:
        """Write a change for each stray image at position ``at``; returns their number when Kafka has all of them."""
        binlog = record.registered(self.context, mend.source).address.kind != "postgresql"
        encoder = Encoder(table, at, known_at, mend.id, binlog=binlog)
        written, self._failure = 0, None
        for before, after in lake.strays(self.context, table, at, expected):
            key, value = encoder.record(before, after)
            self._produce(table.topic, key, value)
            written += 1
            if written % _TOUCH_ROWS == 0:
                self._alive()
        left = self._producer.flush(_FLUSH_SECONDS)
        if self._failure is not None or left:
            raise KafkaException(self._failure or KafkaError(KafkaError._TIMED_OUT, f"{left} changes were not taken"))
        return written

    def _produce(self, topic: str, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=self._delivered)
            except BufferError:
                self._producer.poll(0.5)
                self._alive()
            else:
                self._producer.poll(0)
                return

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        self._failure = error or self._failure


def truncate(work: Work, mend: Mend) -> None:
    """Deletes at the truncate's own position for every row that still counted there."""
    tables = work.tables(mend)
    if not work.in_lake(mend, tables):
        return
    written = {
        table.table: work.take_out(mend, table, mend.position, mend.known_at, compare.expected_after_truncate(table))
        for table in tables
    }
    done(work, mend, written)


def resnapshot_compare(work: Work, mend: Mend) -> None:
    """After another snapshot of a table: what it and the stream did not bring is not there.

    The markers stand still meanwhile: what is made stands just above all they have claimed, below all they will claim.
    """
    held = mends.held(work.context, mend.source)
    tables = work.tables(mend)
    if held is None or mend.id not in held.mends or not work.in_lake(mend, tables):
        return
    binlog = record.registered(work.context, mend.source).address.kind != "postgresql"
    at = above(held.claim, binlog=binlog)
    written = {}
    for table in tables:
        changes = state_at.changes_path(work.context, table)
        with connect(work.context.run(NAME)) as connection:
            live = state_at.live(connection, table, changes, at)
        expected = compare.expected_since(table, live, mend.position)
        written[table.table] = work.take_out(mend, table, at, held.known_at, expected)
    done(work, mend, written)


def done(work: Work, mend: Mend, written: dict[str, int], note: str = "") -> None:
    """The mend is finished, and holds nothing back any more."""
    finished = msgspec.structs.replace(mend, step="done", written=written, note=note or mend.note)
    mends.finish(work.context, finished)
    LOGGER.warning(
        "the log is mended: %s", mend.reason, extra={"mend": mend.id, "source": mend.source, "written": written}
    )
