"""Waits until HBase and the lake hold everything up to a cut.

The position that a view has reached online comes from markers, and the same markers pass through the lake's writer:
the lake says itself how far it is (``lake.reach``). HBase's writer commits its offsets after its cells; what a read of
Redis saw stood in the edits topic by then, so the topic's end now is enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs.errors import ParityError
from stream_jobs.lake import reach
from stream_jobs.online.writer_hbase import NAME as HBASE_WRITER
from stream_jobs.plan import View

_ANSWER_SECONDS = 10.0
_LOOK_SECONDS = 0.25


class Arrival:
    """What is waited for, at most ``timeout_seconds`` a view and store."""

    def __init__(self, context: Context, timeout_seconds: float) -> None:
        self._context, self._timeout_seconds = context, timeout_seconds

    def wait(self, view: View, cut: str) -> None:
        """Raises ParityError when a store is still behind after the time, KafkaException when Kafka does not answer."""
        self._until("the lake", lambda: self._lake_behind(view, cut))
        writer = kafka.consumer(
            self._context, users.ADMINISTRATOR, f"{self._context.names.tenant}.{HBASE_WRITER}"
        )  # asks for the group's offsets and never joins it
        try:
            partitions = (
                writer.list_topics(view.edits_topic, timeout=_ANSWER_SECONDS).topics[view.edits_topic].partitions
            )
            ends = {
                number: writer.get_watermark_offsets(TopicPartition(view.edits_topic, number), timeout=_ANSWER_SECONDS)[
                    1
                ]
                for number in partitions
            }

            def behind() -> str:
                asked = [TopicPartition(view.edits_topic, number) for number in ends]
                for one in writer.committed(asked, timeout=_ANSWER_SECONDS):
                    if one.offset < ends[one.partition] > 0:
                        return f"{one.topic}/{one.partition}: offset {max(one.offset, 0)} of {ends[one.partition]}"
                return ""

            self._until("HBase", behind)
        finally:
            writer.close()

    def _lake_behind(self, view: View, cut: str) -> str:
        path = self._context.layout.lake / self._context.names.lake_changes(view.source, view.table)
        position = reach.read(path).position
        return f"{view.table} is filled up to position {position}, wanted {cut}" if position < cut else ""

    def _until(self, what: str, behind: Callable[[], str]) -> None:
        deadline = time.monotonic() + self._timeout_seconds
        while where := behind():
            if time.monotonic() > deadline:
                raise ParityError(
                    "parity.behind", f"{what} is still behind after {self._timeout_seconds:.0f} s: {where}",
                    hint="`appliance status` says whether its writer works; --wait SECONDS waits longer",
                )  # fmt: skip
            time.sleep(_LOOK_SECONDS)
