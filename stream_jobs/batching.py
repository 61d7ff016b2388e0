"""How many records a writer takes at a time: few near the head of its topics, more the further behind it is.

Rule: a quarter of the lag, at least ``smallest`` and at most ``largest`` records, and no more once it has ``bytes``.
Near the head a batch is small, so that what comes first waits for little else; behind, a batch grows with the lag, so
that each record costs less; and what one batch holds is bounded whatever the size of the records.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from confluent_kafka import Consumer, Message, TopicPartition

_SLICE = 200
"""Records between two looks at the bytes."""


@dataclass(frozen=True)
class Bounds:
    """Records, and bytes of their values; the last slice may go over these by what 200 records have."""

    smallest: int
    largest: int
    bytes: int = 16 * 1024 * 1024

    def records(self, lag: int) -> int:
        """Size of the next batch when ``lag`` records wait."""
        return min(max(lag // 4, self.smallest), self.largest)


class Batches:
    """Batches of what a consumer of partitions assigned by hand has fetched."""

    def __init__(self, consumer: Consumer, bounds: Bounds) -> None:
        self._consumer, self._bounds = consumer, bounds
        self._next: dict[tuple[str, int], int] = {}

    def lag(self) -> int:
        """Records that wait in the partitions read so far, as of the consumer's last fetch; asks no broker."""
        waiting = 0
        for (topic, number), offset in self._next.items():
            watermarks = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            if watermarks is not None:
                waiting += max(watermarks[1] - offset, 0)
        return waiting

    def take(self, wait_seconds: float, linger_seconds: float = 0.0) -> list[Message]:
        """Wait so long for a first record, then take what is there, or comes while it lingers, up to the bounds.

        Error events are among the messages.
        """
        most = self._bounds.records(self.lag())
        first = self._consumer.poll(wait_seconds)
        if first is None:
            return []
        messages = [first]
        size = len(first.value() or b"")
        until = time.monotonic() + linger_seconds
        while len(messages) < most and size < self._bounds.bytes:
            wanted = min(most - len(messages), _SLICE)
            found = self._consumer.consume(wanted, max(until - time.monotonic(), 0.0))
            messages += found
            size += sum(len(message.value() or b"") for message in found)
            if len(found) < wanted and time.monotonic() >= until:
                break
        for message in messages:
            if message.error() is None:
                self._next[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
        return messages
