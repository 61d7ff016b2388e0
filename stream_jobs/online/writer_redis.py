"""``python -m stream_jobs.online.writer_redis``: every view's edits to Redis, and the position each has reached."""

from __future__ import annotations

import logging

from appliance.clients import kafka, redis
from appliance.parts.base import Context
from stream_jobs.batching import Bounds
from stream_jobs.online.dead_letters import DeadLetters
from stream_jobs.online.edits_topic import EditsTopics
from stream_jobs.online.redis_log import RedisLog
from stream_jobs.online.sweep import Sweep
from stream_jobs.online.writing import Writer
from stream_jobs.plan import Plan

NAME = "writer-redis"
_BOUNDS = Bounds(smallest=200, largest=2_000)
"""Of one transaction: Redis answers nobody else for about 3 µs a record."""

_LOGGER = logging.getLogger(NAME)


class RedisSession:
    """Reads on from where Redis says it stands."""

    def __init__(self, context: Context, plan: Plan) -> None:
        names = context.names
        self._redis = redis.connect(context, NAME)
        self._consumer = kafka.consumer(context, NAME, f"{names.tenant}.{NAME}")
        self._topics = EditsTopics(self._consumer, plan.computed, _BOUNDS)
        self._dead_letters = DeadLetters(kafka.producer(context, NAME), names, NAME)
        self._log = RedisLog(self._redis, names, plan)
        dense_rows = context.settings.features.dense_rows
        self._sweep = Sweep(self._redis, names, plan, self._log, dense_rows=dense_rows)
        self._whole = self._begin(plan)

    def _begin(self, plan: Plan) -> bool:
        state = self._log.load()
        starts: dict[tuple[str, int], int | None] = {}
        whole = True
        for view in plan.computed:
            partitions = self._topics.partitions_of(view.edits_topic)
            channels = [f"{topic}/{number}" for topic, number in self._topics.partitions_of(view.source_topic)]
            whole = whole and bool(partitions) and bool(channels)
            self._log.expect(view, [(number, channel) for _, number in partitions for channel in channels])
            starts |= {partition: state.offsets.get(partition) for partition in partitions}
        self._topics.go_to(starts)
        return whole

    def whole(self) -> bool:
        return self._whole

    def step(self) -> int:
        """Read a batch, send what is unusable to the dead-letter topic, write the rest, then tell Kafka."""
        batch = self._topics.read()
        if batch.offsets:
            packed = self._log.pack(batch)
            self._dead_letters.send([*batch.unusable, *packed.unusable])
            self._log.write(packed)
            self._topics.commit(batch.offsets)
        if rewritten := self._sweep.step():
            _LOGGER.info("compacted", extra={"entities": rewritten})
        return len(batch.received)

    def close(self) -> None:
        self._consumer.close()
        self._redis.close()


if __name__ == "__main__":
    Writer(NAME, RedisSession).run()
