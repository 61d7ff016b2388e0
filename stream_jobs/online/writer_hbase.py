"""``python -m stream_jobs.online.writer_hbase``: every edit of every view to HBase, for reads as of any time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping

from happybase import Table

from appliance.clients import hbase, kafka, redis
from appliance.parts.base import Context
from stream_jobs.batching import Bounds
from stream_jobs.errors import EditError
from stream_jobs.online import hbase_table
from stream_jobs.online.dead_letters import DeadLetters
from stream_jobs.online.edits_topic import EditsTopics, Received, Unusable
from stream_jobs.online.hbase_progress import Channels, HBaseProgress
from stream_jobs.online.packed import RowLayout
from stream_jobs.online.writing import Writer
from stream_jobs.plan import Plan

NAME = "writer-hbase"
_BOUNDS = Bounds(smallest=500, largest=5_000)
"""Of one step: HBase spends 9 µs on one of 5,000, 36 on one of 500 (docs, stream_jobs)."""

_CALL_BYTES = 2**20
"""A call is sent when its values have this much. Usual ones then stay below 2 MiB, the Thrift server's own default, and
with one record of the largest kind below ``limits.FRAME_MIB``."""

_TELL_SECONDS = 0.5

_LOGGER = logging.getLogger(NAME)


class HBaseSession:
    """Reads on from the offsets committed for its group; an edit written twice is the same cell."""

    def __init__(self, context: Context, plan: Plan) -> None:
        names = context.names
        self._hbase = hbase.connect(context)
        self._consumer = kafka.consumer(context, NAME, f"{names.tenant}.{NAME}")
        self._topics = EditsTopics(self._consumer, plan.computed, _BOUNDS)
        self._dead_letters = DeadLetters(kafka.producer(context, NAME), names, NAME)
        self._layouts = {view.edits_topic: RowLayout.of(plan, view) for view in plan.computed}
        self._tables: dict[str, Table] = {}
        for view in plan.computed:
            table = names.hbase_table(view.name, view.version)
            if hbase.create_table(self._hbase, table, hbase_table.OPTIONS):
                _LOGGER.info("table created", extra={"table": table})
            self._tables[view.edits_topic] = self._hbase.table(table)
        found = {view.edits_topic: self._topics.partitions_of(view.edits_topic) for view in plan.computed}
        self._whole = all(found.values())
        partitions = [one for some in found.values() for one in some]
        done = self._topics.committed(partitions)
        self._topics.go_to({partition: done.get(partition) for partition in partitions})
        self._redis = redis.connect(context, NAME)
        self._names = names
        self._channels = Channels(HBaseProgress.read(self._redis, names))
        self._told_at = 0.0
        for view in plan.computed:
            sources = [f"{topic}/{number}" for topic, number in self._topics.partitions_of(view.source_topic)]
            numbers = [number for _, number in found[view.edits_topic]]
            self._channels.expect(view, [(number, channel) for number in numbers for channel in sources])

    def whole(self) -> bool:
        return self._whole

    def step(self) -> int:
        """Read a batch, send what is unusable to the dead-letter topic, write the rest, then tell Kafka."""
        batch = self._topics.read()
        if batch.offsets:
            fitting, unfit = self._sort(batch.received)
            self._dead_letters.send([*batch.unusable, *unfit])
            self._put(fitting)
            self._topics.commit(batch.offsets)
            self._channels.written(batch)
            self._tell()
        return len(batch.received)

    def _tell(self) -> None:
        """Say how far HBase is, for those who want to know; at most every half second."""
        if time.monotonic() - self._told_at >= _TELL_SECONDS:
            self._channels.progress.write(self._redis, self._names)
            self._told_at = time.monotonic()

    def _sort(self, received: Iterable[Received]) -> tuple[list[Received], list[Unusable]]:
        """The edits that fit their view, by the same rules as in Redis, and those that do not. Markers are neither."""
        fitting, unfit = [], []
        for one in received:
            if one.edit.sign == 0:
                continue
            try:
                self._layouts[one.view.edits_topic].encode(one.edit)
                fitting.append(one)
            except EditError as error:
                unfit.append(Unusable(one.message, error))
        return fitting, unfit

    def _put(self, received: Iterable[Received]) -> None:
        rows: dict[str, dict[bytes, dict[bytes, bytes]]] = {}
        waiting = 0
        for one in received:
            value = one.message.value() or b""
            row = rows.setdefault(one.view.edits_topic, {}).setdefault(hbase_table.row_key(one.edit.entity), {})
            row[hbase_table.column(one.edit)] = value
            waiting += len(value)
            if waiting >= _CALL_BYTES:
                self._call(rows)
                rows, waiting = {}, 0
        self._call(rows)

    def _call(self, rows: Mapping[str, Mapping[bytes, Mapping[bytes, bytes]]]) -> None:
        for topic, cells in rows.items():
            with self._tables[topic].batch() as puts:
                for key, row in cells.items():
                    puts.put(key, row)

    def close(self) -> None:
        self._consumer.close()
        self._hbase.close()
        self._redis.close()


if __name__ == "__main__":
    Writer(NAME, HBaseSession, hbase.FAILURES).run()
