"""Exact windows from packed edits beside Feast's online read of the same values computed before, in one run.

    python -m tests.bench.bench_online_read

Starts a Redis of its own (``redis-server`` on the path), fills it, and prints a Markdown table. 2 views of 6 features
(count and mean over 1, 7, 30 days), ``--rows`` rows an entity within 30 days, redis-py, one client, no HTTP. Ours: the
vectors and the matrix a model takes, the row in hand added. Feast: its own Redis store, 12 precomputed values of the
same 2 entities. MGET: what redis-py alone takes for our keys. They take turns, so that what else the machine does hits
all of them. CPU: the client's.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import redis as redis_py
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.redis import RedisOnlineStoreConfig
from feast.types import Float64, Int64

from appliance.names import Names
from appliance.records import Edit
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.compact import compact
from stream_jobs.online.dense import DenseView, directory, tile_keys
from stream_jobs.online.packed import EMPTY, NO_TIME, RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service, View, WindowFeature
from tests import redis_server

DAY = 86_400_000_000
NAMES = Names("bench-online")
ENTITIES = 1000
VIEWS = ("payments_of_customer", "payments_at_terminal")
KEYS = ("customer_id", "terminal_id")


def plan() -> Plan:
    features = tuple(
        WindowFeature(f"{function}_{days}d", function, column, days * DAY)
        for days in (1, 7, 30)
        for function, column in (("count", None), ("mean", "amount"))
    )
    views = tuple(
        View(name, 1, "b", "t", "cdc", f"edits-{name}", key, (key,), "id", "at", (Column("amount", "decimal", 2),),
             features, "", "")
        for name, key in zip(VIEWS, KEYS, strict=True)
    )  # fmt: skip
    service = Service("s", "b", "t", "cdc", "id", "at", (), VIEWS, VIEWS[:1], (), (), "m", Policy(0.5, 0.9, 1, ""), "")
    table = CapturedTable("b", "t", "cdc", ("id",), (Column("id", "int64"),), "at", True)
    return Plan("bench", (table,), views, (service,))


def fill(redis: Any, made: Plan, rows: int, chance: random.Random) -> None:
    for view in made.views:
        layout = RowLayout.of(made, view)
        redis.set(reached_positions.key(NAMES, view), reached_positions.encode(Reached("f" * 32, 0)))
        for entity in range(ENTITIES):
            times = sorted(chance.randrange(30 * DAY) for _ in range(rows))
            records = (
                layout.encode(
                    Edit(1, f"{n:032x}", 0, "", str(n), at, columns={"amount": f"{chance.randrange(9999)}.5"})
                )
                for n, at in enumerate(times)
            )
            redis.set(NAMES.redis_edits(view.name, 1, str(entity)), EMPTY + b"".join(records))


@contextlib.contextmanager
def private_redis() -> Iterator[redis_py.Redis]:
    """A Redis that keeps nothing."""
    with (
        tempfile.TemporaryDirectory() as folder,
        redis_server.running(Path(folder)) as port,
        redis_py.Redis(port=port) as client,
    ):
        yield client


def feast_store(port: int, folder: Path, made: Plan, values: dict[str, list[dict[str, Any]]]) -> FeatureStore:
    """Feast's own Redis store, holding the values that our reader gave."""
    store = FeatureStore(
        config=RepoConfig(
            project="bench_online", provider="local", registry=str(folder / "registry.db"),
            online_store=RedisOnlineStoreConfig(connection_string=f"127.0.0.1:{port}"),
            entity_key_serialization_version=3,
        )
    )  # fmt: skip
    now = datetime.now(UTC)
    for view in made.views:
        key = view.join_keys[0]
        path = folder / f"{view.name}.parquet"
        frame = pd.DataFrame(values[view.name]).assign(**{key: range(ENTITIES), "at": now})
        frame.to_parquet(path)
        entity = Entity(name=view.entity, join_keys=[key], value_type=ValueType.INT64)
        schema = [Field(name=f.name, dtype=Int64 if f.function == "count" else Float64) for f in view.features]
        table = FeatureView(
            name=view.name, entities=[entity], ttl=timedelta(days=1), schema=[*schema, Field(name=key, dtype=Int64)],
            source=FileSource(path=str(path), timestamp_field="at"),
        )  # fmt: skip
        store.apply([entity, table])
        store.write_to_online_store(view.name, frame)
    return store


@dataclass(frozen=True)
class Figures:
    """p50, p99 and mean CPU time of one call, ms."""

    p50: float
    p99: float
    cpu: float

    def __str__(self) -> str:
        return f"{self.p50:.3f} / {self.p99:.2f} / {self.cpu:.3f}"


def measure(calls: Sequence[Callable[[], object]], seconds: float) -> list[Figures]:
    """Figures of each call; they take turns, some milliseconds each, for ``seconds`` after a warm-up."""
    taken: list[list[float]] = [[] for _ in calls]
    cpu = [0.0] * len(calls)
    for call in calls:
        for _ in range(20):
            call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for place, call in enumerate(calls):
            turn, used = time.perf_counter() + 0.02, time.process_time()
            while (begin := time.perf_counter()) < turn:
                call()
                taken[place].append((time.perf_counter() - begin) * 1e3)
            cpu[place] += (time.process_time() - used) * 1e3
    return [
        Figures(float(np.percentile(one, 50)), float(np.percentile(one, 99)), used / len(one))
        for one, used in zip(taken, cpu, strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100, help="rows of an entity within 30 days")
    parser.add_argument("--dense-rows", type=int, default=1_000_000, help="rows of a dense entity within 30 days")
    parser.add_argument("--seconds", type=float, default=6.0, help="time for each line of the table")
    arguments = parser.parse_args()
    chance, made = random.Random(1), plan()
    with private_redis() as redis, tempfile.TemporaryDirectory() as folder:
        fill(redis, made, arguments.rows, chance)
        reader = OnlineReader(redis, NAMES, made)
        names = [str(entity) for entity in range(ENTITIES)]
        values = {
            view: [{name: one.value for name, one in found.items()} for found in rows]
            for view, (_, rows) in reader.values_of(dict.fromkeys(VIEWS, names), 30 * DAY).items()
        }
        store = feast_store(redis.connection_pool.connection_kwargs["port"], Path(folder), made, values)
        report(redis, reader, store, made, arguments.rows, arguments.seconds, chance)
        report_dense(redis, made, arguments.dense_rows, arguments.seconds, chance)


DENSE_ENTITY = "dense"


def fill_dense(redis: Any, made: Plan, rows: int, chance: random.Random) -> None:
    """One entity of each view with so many rows in 30 days, as the writer's sweep leaves it, 100 edits behind it."""
    for view in made.views:
        layout = RowLayout.of(made, view)
        times = np.sort(np.array([chance.randrange(30 * DAY) for _ in range(rows + 100)], np.int64))
        one = layout.encode(Edit(1, f"{1:032x}", 0, "", "1", 0, columns={"amount": "1.5"}))
        records = np.frombuffer(one * len(times), layout.dtype).copy()
        records["low"] = records["row_id"] = np.arange(1, len(times) + 1)
        records["event_time"] = times
        records["c0"] = np.arange(len(times)) * 7919 % 999_900
        raw = compact(layout, EMPTY + records[:rows].tobytes(), (0, rows), NO_TIME)
        view_of = DenseView.of(layout, view.features)
        made_of = None if view_of is None else view_of.tile(raw, 1)
        assert made_of is not None
        main, tiles = made_of
        keys = tile_keys(NAMES, view, DENSE_ENTITY, directory(main), range(len(tiles)))
        for begin in range(0, len(keys), 200):
            redis.mset(dict(zip(keys[begin : begin + 200], tiles[begin : begin + 200], strict=True)))
        redis.set(NAMES.redis_edits(view.name, 1, DENSE_ENTITY), main + records[rows:].tobytes())
        redis.set(NAMES.redis_edits(view.name, 1, "whole"), EMPTY + records.tobytes())


def report_dense(redis: Any, made: Plan, rows: int, seconds: float, chance: random.Random) -> None:
    """A dense customer and terminal beside usual ones."""
    used = redis.info("memory")["used_memory"]
    fill_dense(redis, made, rows, chance)
    used = redis.info("memory")["used_memory"] - used
    reader, service = OnlineReader(redis, NAMES, made), made.services[0]
    features = [f"{view.name}:{feature.name}" for view in made.views for feature in view.features]
    read: list[int] = []
    fetch = redis.mget
    calls = []
    for entities in (("1", "2"), (DENSE_ENTITY, "2"), (DENSE_ENTITY, DENSE_ENTITY), ("whole", "whole")):
        pair = dict(zip(KEYS, entities, strict=True))
        hands = [RowInHand(30 * DAY, {**pair, "id": 10**9, "amount": "12.50"})]
        counting = OnlineReader(_Counting(fetch, read), NAMES, made)
        lookup = counting.lookup(service, hands)
        raw = fetch(lookup.keys)
        read.append(sum(len(value or b"") for value in raw))
        lookup.vectors(raw)
        read.append(-1)
        calls.append(lambda hands=hands: reader.vectors(service, hands).matrix(features))
    assert np.array_equal(calls[2](), calls[3]()), "a dense entity gives other values than its whole log"
    sizes = [0]
    for size in read:
        if size < 0:
            sizes.append(0)
        else:
            sizes[-1] += size
    figures = measure(calls[:3], seconds) + measure(calls[3:], seconds)
    print(f"\nDense entities: {rows:,} rows of each in 30 days; both and their whole logs use {used / 2**20:.0f} MiB\n")
    print("| one customer, one terminal | ms, p50 / p99 / CPU | KiB read | ÷ usual |")
    print("|---|---|---|---|")
    names = ("both usual", "customer dense", "both dense", "both dense, whole logs read")
    for name, figure, size in zip(names, figures, sizes, strict=False):
        print(f"| {name} | {figure} | {size / 1024:.0f} | {figure.p50 / figures[0].p50:.1f} |")


class _Counting:
    """MGET that notes how much it read."""

    def __init__(self, fetch: Callable[..., Any], read: list[int]) -> None:
        self._fetch, self._read = fetch, read

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = self._fetch(keys)
        self._read.append(sum(len(value or b"") for value in found))
        return found


def report(
    redis: Any, reader: OnlineReader, store: FeatureStore, made: Plan, rows: int, seconds: float, chance: random.Random
) -> None:
    features = [f"{view.name}:{feature.name}" for view in made.views for feature in view.features]
    service = made.services[0]
    print(f"12 features of 2 entities, {rows} rows an entity; ms, p50 / p99 / CPU\n")
    print(
        "| rows in one call | exact windows, row in hand added | Feast, computed before | MGET | Feast ÷ ours (CPU) |"
    )
    print("|---|---|---|---|---|")
    for size in (1, 10, 100, 1000):
        pairs = [dict(zip(KEYS, chance.choices(range(ENTITIES), k=2), strict=True)) for _ in range(size)]
        hands = [RowInHand(30 * DAY, {**pair, "id": 10**6, "amount": "12.50"}) for pair in pairs]
        keys = reader.lookup(service, hands).keys
        ours, feast, mget = measure(
            [
                lambda hands=hands: reader.vectors(service, hands).matrix(features),
                lambda pairs=pairs: store.get_online_features(features, pairs, full_feature_names=True),
                lambda keys=keys: redis.mget(keys),
            ],
            seconds,
        )
        print(f"| {size} | {ours} | {feast} | {mget} | {feast.p50 / ours.p50:.1f} ({feast.cpu / ours.cpu:.1f}) |")


if __name__ == "__main__":
    main()
