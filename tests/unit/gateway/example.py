"""A small plan for the unit tests of this room."""

from __future__ import annotations

from typing import Any

from appliance.records import FeatureValue, Prediction
from stream_jobs.plan import Column, Plan, Policy, RequestFeature, Service, View, WindowFeature

DAY_US = 86_400_000_000


def amount(row: dict[str, Any]) -> float:
    return float(row["amount"])


def explain(row: dict[str, Any], features: dict[str, Any], score: float) -> tuple[str, str]:
    return "large", f"amount {row['amount']}"


COLUMNS = (
    Column("id", "int64"),
    Column("at", "timestamp_us"),
    Column("customer_id", "int64"),
    Column("amount", "decimal", 2),
    Column("note", "string"),
)
SPENDING = View(
    name="spending",
    version=1,
    source="shop",
    table="public.orders",
    source_topic="main.cdc.shop.public.orders",
    edits_topic="main.edits.spending.v1",
    entity="customer",
    join_keys=("customer_id",),
    row_id="id",
    event_time="at",
    columns=(Column("amount", "decimal", 2),),
    features=(
        WindowFeature("count_7d", "count", None, 7 * DAY_US),
        WindowFeature("amount_mean_1d", "mean", "amount", DAY_US),
        WindowFeature("returned_rate_2h", "mean", "is_returned", 7_200_000_000),
    ),
    sql="",
    definition_hash="0",
)
SERVICE = Service(
    name="orders",
    source="shop",
    event_table="public.orders",
    event_topic="main.cdc.shop.public.orders",
    event_key="id",
    event_time="at",
    row=COLUMNS,
    views=("spending",),
    row_views=("spending",),
    request_features=(RequestFeature("amount", "tests.unit.gateway.example:amount"),),
    features=("request:amount", "spending:count_7d", "spending:amount_mean_1d", "spending:returned_rate_2h"),
    model="orders",
    policy=Policy(0.5, 0.9, 2, "tests.unit.gateway.example:explain"),
    definition_hash="1",
)
PLAN = Plan("shop", (), (SPENDING,), (SERVICE,))
ROW: dict[str, Any] = {"id": 7, "at": 1_000_000, "customer_id": 42, "amount": "12.50", "note": "gift"}


def prediction(**changed: Any) -> Prediction:
    """A prediction of ``ROW``."""
    fields: dict[str, Any] = {
        "prediction_id": "0", "tenant": "main", "service": "orders", "way": "http", "event_key": "7",
        "source_position": "", "request_id": "a", "app": "app", "as_of": 1_000_000, "row": ROW,
        "features": {"request:amount": FeatureValue(12.5, "present")}, "cuts": {}, "reached": {}, "behind": False,
        "score": 0.25, "decision": "approve", "reason": "", "kind": "", "model": "orders", "model_version": "1",
        "definition_hash": "1", "committed_at": 0, "scored_at": 1, "spent_us": {"model": 400},
    }  # fmt: skip
    return Prediction(**(fields | changed))
