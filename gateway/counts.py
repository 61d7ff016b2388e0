"""How many rows were scored each day: counted from the prediction topics into Redis, each record once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import redis
from confluent_kafka import OFFSET_BEGINNING, Message, TopicPartition

from gateway.errors import PartDownError
from gateway.names import Keys
from gateway.reader import Start, next_offsets
from gateway.scoring.policy import day
from stream_jobs.plan import Plan

SCORED = "scored"


class _Counted(msgspec.Struct, frozen=True):
    """The part of a Prediction that is counted."""

    service: str
    way: str
    decision: str
    as_of: int


class Counts:
    """Reads and writes the counts. store: a redis-py client that returns bytes.

    Counts and the offsets they reach are written in one MULTI, and reading goes on from those offsets: a crash neither
    loses nor repeats a record. Days are those of the event time in ``zone``.
    """

    def __init__(self, store: Any, keys: Keys, zone: ZoneInfo, retention_days: int) -> None:
        self._store, self._keys, self._zone = store, keys, zone
        self._seconds = retention_days * 86_400

    @classmethod
    def of(cls, store: Any, tenant: str, plan: Plan, retention_days: int) -> Counts:
        """The counts of a plan's services."""
        return cls(store, Keys(tenant), ZoneInfo(plan.time_zone), retention_days)

    def start(self) -> Start:
        """Where each prediction topic was counted up to."""

        def offsets(partitions: list[TopicPartition]) -> list[TopicPartition]:
            try:
                known = self._store.hmget(self._keys.count_offsets(), [_place(p) for p in partitions])
            except redis.RedisError as error:
                raise PartDownError("redis", error) from error
            return [
                TopicPartition(p.topic, p.partition, OFFSET_BEGINNING if offset is None else int(offset))
                for p, offset in zip(partitions, known, strict=True)
            ]

        return offsets

    def add(self, messages: Sequence[Message]) -> None:
        """Count these records, which follow those counted before."""
        if not messages:
            return
        hashes: dict[str, Counter[str]] = {}
        for message in messages:
            one = msgspec.json.decode(message.value() or b"", type=_Counted)
            counter = hashes.setdefault(self._keys.counts(one.service, day(one.as_of, self._zone)), Counter())
            counter.update((SCORED, f"way:{one.way}", f"decision:{one.decision}"))
        try:
            pipe = self._store.pipeline(transaction=True)
            for key, counter in hashes.items():
                for field, number in counter.items():
                    pipe.hincrby(key, field, number)
                pipe.expire(key, self._seconds)
            pipe.hset(self._keys.count_offsets(), mapping={_place(p): p.offset for p in next_offsets(messages)})
            pipe.execute()
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error

    def read(self, services: Sequence[str], days: Sequence[str]) -> dict[str, Counter[str]]:
        """Day → its counts (``scored``, ``way:cdc``, ``decision:review``, …), the services together."""
        pairs = [(service, one) for service in services for one in days]
        try:
            pipe = self._store.pipeline(transaction=False)
            for service, one in pairs:
                pipe.hgetall(self._keys.counts(service, one))
            found: list[Mapping[bytes, bytes]] = pipe.execute() if pairs else []
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        totals: dict[str, Counter[str]] = {one: Counter() for one in days}
        for (_, one), fields in zip(pairs, found, strict=True):
            totals[one].update({name.decode(): int(number) for name, number in fields.items()})
        return totals


def _place(partition: TopicPartition) -> str:
    return f"{partition.topic}/{partition.partition}"
