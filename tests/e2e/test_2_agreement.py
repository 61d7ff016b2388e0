"""Feast's `get_online_features` and the gateway give the same numbers for 1,000 random entities at the same time."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance.clients import postgres
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from tests.integration import gateway_api as api

pytestmark = pytest.mark.e2e

PAIRS = 1_000
THREADED_PAIRS = 400
SHARE_WITH_HISTORY = 0.95
WITHIN = 1e-9


def pairs(context: Context) -> list[tuple[int, int]]:
    """Random customers and terminals of the business database, the same in every run."""
    with postgres.sample(context) as database:
        customers = [int(str(r[0])) for r in database.execute("select customer_id from customers").fetchall()]
        terminals = [int(str(r[0])) for r in database.execute("select terminal_id from terminals").fetchall()]
    chosen = random.Random(1000)
    return [(chosen.choice(sorted(customers)), chosen.choice(sorted(terminals))) for _ in range(PAIRS)]


def same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    return abs(float(one) - float(other)) <= WITHIN * max(1.0, abs(float(one)))


def test_feast_and_the_gateway_agree(live: Context, held_clock: int) -> None:
    plan = plans.read(live.layout.plan_file)
    chosen = pairs(live)
    features = [f"{view.name}:{feature.name}" for view in plan.views for feature in view.features]
    rows = [{"customer_id": customer, "terminal_id": terminal} for customer, terminal in chosen]
    feast = feature_store(live).get_online_features(features=features, entity_rows=rows).to_dict()

    with api.app_client(live) as client, ThreadPoolExecutor(4) as pool:

        def ask(row: dict[str, int]) -> dict[str, Any]:
            answer = client.get("/v1/services/card_fraud/features", params={**row, "as_of_us": held_clock}, timeout=60)
            assert answer.status_code == 200, answer.text
            values: dict[str, Any] = answer.json()["features"]
            return values

        gateway = list(pool.map(ask, rows))

    different = [
        (rows[index], name, feast[name.partition(":")[2]][index], values[name]["value"])
        for index, values in enumerate(gateway)
        for name in features
        if not same(feast[name.partition(":")[2]][index], values[name]["value"])
    ]
    assert not different, f"{len(different)} values differ, the first: {different[0]}"
    with_history = [
        values["customer_payments:customer_tx_count_30d"]["value"] > 0
        or values["terminal_labels:terminal_label_count_30d"]["value"] > 0
        for values in gateway
    ]
    share = sum(with_history) / len(with_history)
    print(f"{len(features)} features of {PAIRS} pairs agree; {share:.1%} have a non-zero 30-day count")
    assert share >= SHARE_WITH_HISTORY


def test_feast_gives_each_of_many_threads_its_own_answer(live: Context, held_clock: int) -> None:
    """One store, asked for one pair at a time by many threads, as Feast's own server and its async calls do."""
    views = plans.read(live.layout.plan_file).views
    features = [f"{view.name}:{feature.name}" for view in views for feature in view.features]
    rows = [{"customer_id": customer, "terminal_id": terminal} for customer, terminal in pairs(live)[:THREADED_PAIRS]]
    store = feature_store(live)

    def ask(row: dict[str, int]) -> dict[str, Any]:
        return store.get_online_features(features=features, entity_rows=[row]).to_dict()

    with ThreadPoolExecutor(8) as pool:
        beside = list(pool.map(ask, rows))
    alone = [ask(row) for row in rows]
    assert len({str(sorted(answer.items())) for answer in alone}) > THREADED_PAIRS / 2, (
        "too few answers differ to show it"
    )
    different = [row for row, one, other in zip(rows, beside, alone, strict=True) if one != other]
    assert not different, f"{len(different)} of {len(rows)} answers differ, the first of {different[0]}"
