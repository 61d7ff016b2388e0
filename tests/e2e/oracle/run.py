"""One oracle run: set up, change and kill, then compare every store with the oracle."""

from __future__ import annotations

import bisect
import multiprocessing
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from appliance import users
from appliance.clients import redis
from appliance.clock import Clock
from appliance.parts.base import Context
from stream_jobs.online import reached as reached_positions
from stream_jobs.plan import Plan, View
from tests.clock import held_clock
from tests.e2e.oracle import changes, kills, oracle, ours, probes
from tests.e2e.oracle.kills import PARTS
from tests.e2e.oracle.oracle import Question

_BUSINESS_DAYS = 30
_LOOK_SECONDS = 0.01
_SAY_SECONDS = 10.0
_SHOWN = 10


@dataclass(frozen=True)
class Options:
    """backlog: changes not yet servable beyond which the applications wait; by default a tenth of all, at most 100,000.

    times: as-of times at the end.
    """

    changes: int
    kills: int
    parts: tuple[str, ...] = PARTS
    probes: int = 100_000
    entities: int | None = None
    rate: float | None = None
    workers: int = 2
    backlog: int | None = None
    largest: int = 5_000
    truncates: int = 0
    times: int = 5
    seed: int = 1
    settle_seconds: float = 900.0

    @property
    def entities_of_a_table(self) -> int:
        return self.entities or max(40, self.changes // 2_000)

    @property
    def most_behind(self) -> int:
        return self.backlog or min(100_000, max(1_000, self.changes // 10))


class Compared(msgspec.Struct):
    """values: how many were compared. first: the first different values, with their questions."""

    what: str
    vectors: int
    values: int
    different: int
    seconds: float
    first: list[dict[str, Any]]


class Result(msgspec.Struct):
    """What a run says."""

    options: dict[str, Any]
    changes: dict[str, int]
    transactions: int
    rolled_back: int
    seconds: float
    changes_per_second: float
    kills: list[kills.Kill]
    probes_refused: int
    settled_seconds: dict[str, float]
    compared: list[Compared]
    explained: dict[str, Any] | None = None

    @property
    def different(self) -> int:
        return sum(each.different for each in self.compared)


class _Watch:
    """What is servable, and so how far behind the appliance is."""

    def __init__(self, context: Context, views: Sequence[View], done: changes.Committed) -> None:
        self._context, self._done = context, done
        self._views = views
        self._store = redis.connect(context, users.ADMINISTRATOR, timeout_seconds=2)
        self.servable = 0
        self.fresh_us = 0

    def look(self) -> None:
        try:
            found = reached_positions.read(self._store, self._context.names, self._views).values()
        except RedisError:
            return
        if any(one is None for one in found):
            return
        self.fresh_us = min(one.known_at for one in found if one)
        commit = int(min(one.position for one in found if one)[:16], 16)
        with self._done.lock:
            place = bisect.bisect_right(self._done.log, (commit, sys.maxsize))
            self.servable = self._done.log[place - 1][1] if place else 0

    @property
    def behind(self) -> int:
        return self._done.changes - self.servable


def run(context: Context, options: Options, say: Callable[[str], None]) -> Result:
    """Set up, run, compare, and leave everything in place (``ours.clear`` takes away what runs left)."""
    side = ours.new(context)
    address = side.address
    ours.create_database(side)
    oracle.set_up(address)
    store = redis.connect(context, users.ADMINISTRATOR)
    now = datetime.fromtimestamp(Clock(store, context.names.redis_clock()).now_us() / 1e6, UTC)
    load = changes.Load(
        options.changes, options.entities_of_a_table, now - timedelta(days=_BUSINESS_DAYS), now,
        options.largest, options.truncates, options.rate, options.seed,
    )  # fmt: skip
    slot = oracle.Slot(address)
    slot.start()
    say("rows that are there before the appliance is connected")
    _before(address, load)
    oracle.streams_from_now(address)
    say("applying the views, adding the source")
    ours.add_views(side)
    ours.add_source(side)
    plan = side.plan
    views = side.views(plan)
    done = changes.Committed()
    watch = _Watch(context, views, done)
    ours.until(
        lambda: bool(ours.reached(context, store, views)), "the first position is reached", options.settle_seconds
    )
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        probed = Path(folder) / "probes.jsonl"
        killer = _change_and_kill(side, options, load, done, watch, probed, say)
        seconds = time.monotonic() - began
        asked, refused = probes.read(probed)
    say(f"{done.changes} changes in {seconds:.0f} s; waiting until every store has them")
    oracle.wait_quiet(address, 60)
    slot.stop()
    counted = oracle.prepare(address)
    say(f"the oracle is ready: {counted}")
    last = oracle.last_positions(address)
    highest = max(last.values())
    settled = {
        "redis": ours.until(
            lambda: ours.reached(context, store, views) >= highest, "Redis has every edit", options.settle_seconds
        )
    }
    killer.look()
    settled["hbase"] = ours.wait_hbase(context, views, options.settle_seconds)
    settled["lake"] = ours.wait_lake(side, plan, last, options.settle_seconds)
    result = Result(
        options=msgspec.to_builtins(options), changes=counted, transactions=done.transactions,
        rolled_back=done.rolled_back, seconds=round(seconds, 1), changes_per_second=round(done.changes / seconds, 1),
        kills=killer.kills, probes_refused=refused, settled_seconds={k: round(v, 1) for k, v in settled.items()},
        compared=[],
    )  # fmt: skip
    _compare(side, plan, options, load, asked, highest, result, say)
    return result


def _before(address: str, load: changes.Load) -> None:
    """A twentieth of the changes, as the business of before."""
    some = changes.Load(
        max(load.changes // 20, 1), load.entities, load.begins - timedelta(days=2), load.begins, load.largest,
        seed=load.seed + 1,
    )  # fmt: skip
    worker = changes.Worker(address, 9, some, changes.Committed(), lambda: True)
    worker.run()
    if worker.failure:
        raise worker.failure


def _change_and_kill(
    side: ours.Side, options: Options, load: changes.Load, done: changes.Committed, watch: _Watch,
    probed: Path, say: Callable[[str], None],
) -> kills.Killer:  # fmt: skip
    """Until every change is committed and every kill has been got over."""
    spawn = multiprocessing.get_context("spawn")
    share, now_us, stop = spawn.Value("d", 0.0), spawn.Value("q", round(load.begins.timestamp() * 1e6)), spawn.Event()
    prober = spawn.Process(
        target=probes.run, args=(probed, side.name, options.probes, load.entities, now_us, share, stop)
    )
    killer = kills.Killer(
        side.context, options.parts, options.kills, options.changes, lambda: done.changes, lambda: watch.fresh_us, say,
        options.seed,
    )  # fmt: skip
    going = threading.Event()
    workers = [
        changes.Worker(side.address, number, load, done, lambda: watch.behind < options.most_behind)
        for number in range(1, options.workers + 1)
    ]
    prober.start()
    killer.start()
    for worker in workers:
        worker.start()
    told = time.monotonic()
    while any(worker.is_alive() for worker in workers) or not killer.ended.is_set():
        watch.look()
        killer.look()
        share.value = min(1.0, done.changes / options.changes)
        now_us.value = round((load.begins + (load.ends - load.begins) * share.value).timestamp() * 1e6)
        if time.monotonic() - told > _SAY_SECONDS:
            told = time.monotonic()
            say(f"{done.changes} changes committed, {watch.behind} of them not yet servable")
        going.wait(_LOOK_SECONDS)
    for worker in workers:
        worker.join()
    share.value = 1.0
    limit = time.monotonic() + 120
    while prober.is_alive() and time.monotonic() < limit:
        watch.look()
        killer.look()
        going.wait(_LOOK_SECONDS)
    stop.set()
    prober.join(30)
    for failure in (killer.failure, *(worker.failure for worker in workers)):
        if failure is not None:
            raise failure
    assert prober.exitcode == 0, f"the prober ended with {prober.exitcode}"
    return killer


def _compare(
    side: ours.Side, plan: Plan, options: Options, load: changes.Load, asked: Sequence[probes.Probe],
    cut: str, result: Result, say: Callable[[str], None],
) -> None:  # fmt: skip
    began = time.monotonic()
    expected = list(oracle.answers(side.address, [probe.question for probe in asked]))
    result.compared.append(
        _difference("probes during the run", [p.question for p in asked], expected, [p.values for p in asked], began)
    )
    say(_shown(result.compared[-1]))
    chance = random.Random(options.seed)
    end_us = round(load.ends.timestamp() * 1e6)
    moments = [end_us, *(probes.as_of(chance, end_us) for _ in range(options.times - 1))]
    entities: dict[str, list[tuple[str, ...]]] = {
        "orders": [(str(n),) for n in range(1, load.entities + 1)],
        "readings": [(f"d-{n}",) for n in range(1, load.entities + 1)],
        "visits": [(f"s{site}", str(visitor)) for site in range(7) for visitor in range(load.entities // 5 + 1)],
    }
    questions = [
        Question(view, keys, at, cut) for view, everyone in entities.items() for at in moments for keys in everyone
    ]
    expected = list(oracle.answers(side.address, questions))
    say(f"the oracle has answered {len(questions)} questions at the end")
    for what, ask in (
        ("Redis at the end, every entity", ours.from_redis),
        ("HBase at the end's position, every entity", ours.from_hbase),
        ("Feast's historical features at the end's position, every entity", ours.from_lake),
    ):
        began = time.monotonic()
        result.compared.append(_difference(what, questions, expected, ask(side, plan, questions), began))
        say(_shown(result.compared[-1]))
    with held_clock(side.context, end_us):
        began = time.monotonic()
        now = [(q, e) for q, e in zip(questions, expected, strict=True) if q.as_of == end_us]
        got = ours.from_feast_online(side, plan, [q for q, _ in now])
        result.compared.append(
            _difference(
                "Feast's online features now, every entity", [q for q, _ in now], [e for _, e in now], got, began
            )
        )
        say(_shown(result.compared[-1]))
    for each in result.compared:
        if each.first:
            question = msgspec.convert(each.first[0]["question"], Question)
            result.explained = {"where": each.what, **each.first[0], **ours.explained(side, plan, question)}
            return


def _difference(
    what: str, questions: Sequence[Question], expected: Sequence[dict[str, Any]], got: Sequence[dict[str, Any]],
    began: float,
) -> Compared:  # fmt: skip
    found = Compared(what, len(questions), 0, 0, 0.0, [])
    for question, right, ours_ in zip(questions, expected, got, strict=True):
        assert right.keys() == ours_.keys(), f"features {sorted(right.keys() ^ ours_.keys())} are on one side only"
        for feature, value in right.items():
            found.values += 1
            if not oracle.same(value, ours_[feature]):
                found.different += 1
                if len(found.first) < _SHOWN:
                    found.first.append(
                        {
                            "question": msgspec.to_builtins(question),
                            "feature": feature,
                            "oracle": value,
                            "ours": ours_[feature],
                        }
                    )
    found.seconds = round(time.monotonic() - began, 1)
    return found


def _shown(compared: Compared) -> str:
    return (
        f"{compared.what}: {compared.vectors} vectors, {compared.values} values, {compared.different} different"
        f" ({compared.seconds} s)"
    )
