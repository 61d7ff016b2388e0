"""Exact windows from packed edits beside Feast's online read of the same values computed before, in one run.

    APPLIANCE_HOME=… python -m tests.bench.bench_online_read

Fills keys of a tenant of its own (``bench-online``) in the appliance's Redis, prints a Markdown table, and takes them
out again. 2 views of 6 features (count and mean over 1, 7, 30 days), ``--rows`` rows an entity within 30 days,
redis-py, one client, no HTTP. Feast: its own Redis store, 12 precomputed values of the same 2 entities. CPU: client's.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.infra.online_stores.redis import RedisOnlineStoreConfig
from feast.types import Float64, Int64

from appliance import context as contexts
from appliance import users
from appliance.clients import redis as redis_clients
from appliance.names import Names
from appliance.parts.base import Context
from appliance.ports import Port
from appliance.records import Edit
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.packed import EMPTY, RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service, View, WindowFeature

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


def feast_store(context: Context, folder: Path, made: Plan, values: dict[str, list[dict[str, Any]]]) -> FeatureStore:
    """Feast's own Redis store, holding the values that our reader gave."""
    password = context.secrets.get(f"redis.{users.ADMINISTRATOR}")
    address = f"127.0.0.1:{context.port(Port.REDIS)},username={users.ADMINISTRATOR},password={password}"
    store = FeatureStore(
        config=RepoConfig(
            project="bench_online", provider="local", registry=str(folder / "registry.db"),
            online_store=RedisOnlineStoreConfig(connection_string=address), entity_key_serialization_version=3,
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


def measure(call: Callable[[], object], seconds: float) -> tuple[float, float, float]:
    """p50, p99 and mean CPU time of one call, ms, over ``seconds`` after a warm-up."""
    for _ in range(5):
        call()
    taken, end, cpu = [], time.perf_counter() + seconds, time.process_time()
    while time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        taken.append((time.perf_counter() - begin) * 1e3)
    cpu = (time.process_time() - cpu) * 1e3 / len(taken)
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100, help="rows of an entity within 30 days")
    parser.add_argument("--seconds", type=float, default=3.0, help="time for each measurement")
    arguments = parser.parse_args()
    context, chance, made = contexts.current(), random.Random(1), plan()
    redis = redis_clients.connect(context, users.ADMINISTRATOR)
    with tempfile.TemporaryDirectory() as folder:
        try:
            fill(redis, made, arguments.rows, chance)
            reader = OnlineReader(redis, NAMES, made)
            names = [str(entity) for entity in range(ENTITIES)]
            values = {
                view: [{name: one.value for name, one in found.items()} for found in rows]
                for view, (_, rows) in reader.values_of(dict.fromkeys(VIEWS, names), 30 * DAY).items()
            }
            store = feast_store(context, Path(folder), made, values)
            report(reader, store, made, arguments.rows, arguments.seconds, chance)
            store.teardown()
        finally:
            for key in redis.scan_iter(match="bench-online:*", count=1000):
                redis.delete(key)


def report(
    reader: OnlineReader, store: FeatureStore, made: Plan, rows: int, seconds: float, chance: random.Random
) -> None:
    features = [f"{view.name}:{feature.name}" for view in made.views for feature in view.features]
    print(f"12 features of 2 entities, {rows} rows an entity; ms, p50 / p99 / CPU\n")
    print(
        "| rows in one call | exact windows, row in hand added | Feast, values computed before | Feast ÷ ours (CPU) |"
    )
    print("|---|---|---|---|")
    service = made.services[0]
    for size in (1, 10, 100, 1000):
        pairs = [dict(zip(KEYS, chance.choices(range(ENTITIES), k=2), strict=True)) for _ in range(size)]
        hands = [RowInHand(30 * DAY, {**pair, "id": 10**6, "amount": "12.50"}) for pair in pairs]
        ours = measure(lambda hands=hands: reader.vectors(service, hands), seconds)
        feast = measure(
            lambda pairs=pairs: store.get_online_features(features, pairs, full_feature_names=True), seconds
        )
        cells = (" / ".join(f"{figure:.2f}" for figure in figures) for figures in (ours, feast))
        print(f"| {size} | {' | '.join(cells)} | {feast[0] / ours[0]:.1f} ({feast[2] / ours[2]:.1f}) |")


if __name__ == "__main__":
    main()
