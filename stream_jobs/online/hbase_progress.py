"""How far ``writer-hbase`` is, kept in Redis for those who want to know: positions reached, and offsets.

Nothing is read from here to write by: the writer goes on from the offsets committed for its group. After a start it has
reached nothing until each channel has spoken again; until then the position said before still holds, as a lower bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from appliance.names import Names
from stream_jobs.online.edits_topic import Batch, Partition
from stream_jobs.online.reached import Reached, lowest
from stream_jobs.plan import View


class HBaseProgress(msgspec.Struct):
    """reached: edits topic → position reached. offsets: edits topic → partition → next record."""

    reached: dict[str, Reached] = {}
    offsets: dict[str, dict[int, int]] = {}

    @classmethod
    def read(cls, redis: Any, names: Names) -> HBaseProgress:
        raw = redis.get(names.hbase_progress())
        return msgspec.json.decode(raw, type=cls) if raw else cls()

    def write(self, redis: Any, names: Names) -> None:
        redis.set(names.hbase_progress(), msgspec.json.encode(self))

    def as_offsets(self) -> dict[Partition, int]:
        return {(topic, number): offset for topic, some in self.offsets.items() for number, offset in some.items()}


class Channels:
    """Follows the markers of a writer's views, from those that it has written behind."""

    def __init__(self, progress: HBaseProgress) -> None:
        self.progress = progress
        self._expected: dict[str, list[tuple[int, str]]] = {}
        self._seen: dict[str, dict[tuple[int, str], Reached]] = {}

    def expect(self, view: View, channels: Iterable[tuple[int, str]]) -> None:
        """Name the (edits partition, channel) pairs that must speak."""
        self._expected[view.edits_topic] = list(channels)

    def written(self, batch: Batch) -> None:
        """The store has all of this batch."""
        for (topic, number), offset in batch.offsets.items():
            self.progress.offsets.setdefault(topic, {})[number] = offset
        for one in batch.received:
            if one.edit.sign == 0:
                seen = self._seen.setdefault(one.view.edits_topic, {})
                channel = (one.message.partition() or 0, one.edit.channel)
                if channel not in seen or seen[channel].position < one.edit.position:
                    seen[channel] = Reached(one.edit.position, one.edit.known_at)
        for topic, expected in self._expected.items():
            now, before = lowest(expected, self._seen.get(topic, {})), self.progress.reached.get(topic)
            if now is not None and (before is None or before.position < now.position):
                self.progress.reached[topic] = now
