"""Measuring freshness: what the stores say of themselves, against the ends of the topics they are filled from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from appliance.clock import wall_us
from appliance.parts.base import Context
from stream_jobs.lake import reach
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.hbase_progress import HBaseProgress
from stream_jobs.online.redis_log import offsets as redis_offsets
from stream_jobs.plan import Plan, View

Store = Literal["redis", "hbase", "lake"]
STORES: tuple[Store, ...] = ("redis", "hbase", "lake")
_METADATA_SECONDS = 5.0

Offsets = Mapping[tuple[str, int], int]
"""Topic and partition → offset of the next record."""


class ViewFreshness(msgspec.Struct, frozen=True):
    """One view version in one store.

    position: 32 hex digits, every change up to it is in the store; "" if it has reached nothing. known_at: commit time
    there, µs UTC. age_ms: how long ago that was. ttl_ms: the view's bound on it, null for none. stale: whether it is
    older, or there is no position. lag_records: those that the store has still to take in (lake: of the captured
    topic). records_per_second: taken in since the measurement before, null for the first.
    """

    view: str
    version: int
    store: Store
    position: str
    known_at: int
    age_ms: int | None
    ttl_ms: int | None
    stale: bool
    lag_records: int
    records_per_second: float | None


class Freshness(msgspec.Struct, frozen=True):
    """measured_at: µs UTC."""

    measured_at: int
    views: list[ViewFreshness]


class Meter:
    """Measures again and again, and knows by that how fast each store goes on. One thread at a time.

    redis: a redis-py client that returns bytes. consumer: of a user who may see the topics of changes and of edits.
    """

    def __init__(self, context: Context, redis: Any, consumer: Consumer) -> None:
        self._context, self._redis, self._consumer = context, redis, consumer
        self._before: dict[tuple[str, Store], tuple[float, int]] = {}

    def measure(self, plan: Plan) -> Freshness:
        """Of every version in the plan. Raises KafkaException, and redis-py's errors."""
        now_us, now = wall_us(), time.monotonic()
        topics = {view.edits_topic for view in plan.computed} | {view.source_topic for view in plan.computed}
        ends = {topic: self._ends(topic) for topic in topics}
        stores = self._stores(plan)
        found = []
        for view in plan.computed:
            for store in STORES:
                reached, offsets = stores[store][view.edits_topic]
                topic = view.source_topic if store == "lake" else view.edits_topic
                done = sum(offsets.get((topic, number), 0) for number in ends[topic])
                age_ms = max(0, now_us - reached.known_at) // 1000 if reached else None
                found.append(
                    ViewFreshness(
                        view=view.name,
                        version=view.version,
                        store=store,
                        position=reached.position if reached else "",
                        known_at=reached.known_at if reached else 0,
                        age_ms=age_ms,
                        ttl_ms=view.ttl_ms,
                        stale=age_ms is None or (view.ttl_ms is not None and age_ms > view.ttl_ms),
                        lag_records=max(0, sum(ends[topic].values()) - done),
                        records_per_second=self._rate(view, store, now, done),
                    )
                )
        return Freshness(now_us, found)

    def _ends(self, topic: str) -> dict[int, int]:
        known = self._consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
        if known.error is not None:
            if known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return {}
            raise KafkaException(known.error)
        return {
            number: self._consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_METADATA_SECONDS)[1]
            for number in known.partitions
        }

    def _stores(self, plan: Plan) -> dict[Store, dict[str, tuple[reached_positions.Reached | None, Offsets]]]:
        """Store → edits topic → position reached and offsets."""
        names, views = self._context.names, plan.computed
        keys = [reached_positions.key(names, view) for view in views]
        online = dict(zip([view.edits_topic for view in views], self._redis.mget(keys) if keys else [], strict=True))
        taken = redis_offsets(self._redis, names)
        history = HBaseProgress.read(self._redis, names)
        return {
            "redis": {topic: (reached_positions.decode(raw), taken) for topic, raw in online.items()},
            "hbase": {
                view.edits_topic: (history.reached.get(view.edits_topic), history.as_offsets()) for view in views
            },
            "lake": {view.edits_topic: self._lake(view) for view in views},
        }

    def _lake(self, view: View) -> tuple[reached_positions.Reached | None, Offsets]:
        folder = self._context.layout.lake / self._context.names.lake_changes(view.source, view.table)
        said = reach.read(folder)
        offsets = {(view.source_topic, number): offset for number, offset in said.offsets.items()}
        return reached_positions.Reached(said.position, said.known_at) if said.known_at else None, offsets

    def _rate(self, view: View, store: Store, now: float, done: int) -> float | None:
        key = (view.edits_topic, store)
        before = self._before.get(key)
        self._before[key] = (now, done)
        if before is None or now <= before[0]:
            return None
        return round(max(0, done - before[1]) / (now - before[0]), 1)


def prometheus(freshness: Freshness) -> str:
    """In Prometheus' text format."""
    lines = [*_family(freshness.views, "appliance_reached_age_seconds", "Age of the position reached.", _age)]
    lines += _family(freshness.views, "appliance_reached_known_at_seconds", "Commit time at the position reached.", _at)
    lines += _family(freshness.views, "appliance_lag_records", "Records that the store has still to take in.", _lag)
    lines += _family(freshness.views, "appliance_written_records_per_second", "Records taken in.", _per_second)
    lines += _family(freshness.views, "appliance_stale", "1 if older than the view's ttl, or nothing reached.", _stale)
    lines += [
        "# HELP appliance_freshness_measured_at_seconds When these were measured.",
        "# TYPE appliance_freshness_measured_at_seconds gauge",
        f"appliance_freshness_measured_at_seconds {freshness.measured_at / 1e6}",
    ]
    return "\n".join(lines) + "\n"


def _age(one: ViewFreshness) -> float | None:
    return None if one.age_ms is None else one.age_ms / 1000


def _at(one: ViewFreshness) -> float | None:
    return one.known_at / 1e6 if one.known_at else None


def _lag(one: ViewFreshness) -> float | None:
    return one.lag_records


def _per_second(one: ViewFreshness) -> float | None:
    return one.records_per_second


def _stale(one: ViewFreshness) -> float | None:
    return int(one.stale)


def _family(views: Sequence[ViewFreshness], name: str, told: str, value: Any) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} gauge"
    for one in views:
        if (number := value(one)) is not None:
            yield f'{name}{{view="{one.view}",version="{one.version}",store="{one.store}"}} {number}'
