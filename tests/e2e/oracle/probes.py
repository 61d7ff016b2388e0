"""Asks the online store for features while changes are committed and processes are killed; writes down what it said."""

from __future__ import annotations

import random
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from appliance import context as contexts
from appliance import users
from appliance.clients import hbase, redis
from stream_jobs.errors import CutTooOldError
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.online.reader import SEPARATOR, OnlineReader
from tests.e2e.oracle import ours
from tests.e2e.oracle.oracle import VIEWS, Question

_AWAY: tuple[type[Exception], ...] = (RedisError, CutTooOldError, *hbase.FAILURES)
_ENTITIES = 20
_MINUTE_US, _HOUR_US = 60_000_000, 3_600_000_000
_BACK_MINUTES = 9 * 24 * 60


class Probe(msgspec.Struct, frozen=True):
    """A question, and what the online store answered at ``asked_us`` (wall clock)."""

    question: Question
    values: dict[str, Any]
    asked_us: int


def entity(chance: random.Random, view: str, entities: int) -> tuple[str, ...]:
    """The keys of an entity that the business may have (see ``changes``)."""
    number = chance.randint(1, entities)
    if view == "visits":
        return f"s{number % 7}", str(chance.randrange(entities // 5 + 1))
    return (str(number),) if view == "orders" else (f"d-{number}",)


def as_of(chance: random.Random, now_us: int) -> int:
    """A time up to nine days before the business's own, half of them on a whole minute, where many rows are."""
    at = now_us + _HOUR_US // 2 - chance.randrange(_BACK_MINUTES) * _MINUTE_US
    return at // _MINUTE_US * _MINUTE_US if chance.random() < 0.5 else at + chance.randrange(_MINUTE_US)


def run(out: Path, name: str, wanted: int, entities: int, now_us: Any, share: Any, stop: Event) -> None:
    """A process: ``wanted`` probes of the run ``name``, at the pace of the changes, until ``stop``.

    now_us: the business's time; share: of the changes that are made, 0 … 1; both shared values. Errors of
    a store that was just killed are waited out and counted in the last line.
    """
    context, chance = contexts.current(), random.Random(7)
    side = ours.Side(context, name)
    plan = side.plan
    store = redis.connect(context, users.ADMINISTRATOR)
    reader = OnlineReader(store, context.names, plan, HBaseHistory.of(context))
    made = refused = 0
    with out.open("wb") as file:
        while not stop.is_set() and made < wanted:
            if made > wanted * share.value:
                time.sleep(0.02)
                continue
            of = chance.choice(VIEWS)
            view = side.view(plan, of).name
            asked = [entity(chance, of, entities) for _ in range(_ENTITIES)]
            at = as_of(chance, now_us.value)
            try:
                reached, values = reader.values_of({view: [SEPARATOR.join(keys) for keys in asked]}, at)[view]
            except _AWAY:
                refused += 1
                time.sleep(0.1)
                continue
            if reached is None:
                time.sleep(0.1)
                continue
            wall = time.time_ns() // 1_000
            for keys, found in zip(asked, values, strict=True):
                question = Question(of, keys, at, reached.position)
                answer = {name: one.value for name, one in found.items()}
                file.write(msgspec.json.encode(Probe(question, answer, wall)) + b"\n")
                made += 1
        file.write(msgspec.json.encode({"refused": refused}) + b"\n")


def read(out: Path) -> tuple[list[Probe], int]:
    """The probes, and how many calls a killed store refused."""
    *lines, last = out.read_bytes().splitlines()
    return [msgspec.json.decode(line, type=Probe) for line in lines], msgspec.json.decode(last)["refused"]
