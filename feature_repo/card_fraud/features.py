"""The scenario's Feast objects: what is known of a customer, of a terminal, and of the payment in hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from feast import Entity, FeatureService, Field, RequestSource, StreamFeatureView, ValueType
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64, Int64

from feature_repo import declare

_DAYS = (1, 7, 30)
_REACHED_TTL = timedelta(minutes=5)

customer = Entity(
    name="customer", join_keys=["customer_id"], value_type=ValueType.INT64, description="Who pays with a card"
)
terminal = Entity(
    name="terminal", join_keys=["terminal_id"], value_type=ValueType.INT64, description="Where a card is taken"
)

customers = declare.captured(
    name="customers",
    source="bank",
    table="public.customers",
    key="customer_id",
    columns={"customer_id": "int64", "home_x": "float64", "home_y": "float64"},
    description="Customers and where they live",
)
terminals = declare.captured(
    name="terminals",
    source="bank",
    table="public.terminals",
    key="terminal_id",
    columns={"terminal_id": "int64", "x": "float64", "y": "float64"},
    description="Terminals and where they stand",
)
transactions = declare.captured(
    name="transactions",
    source="bank",
    table="public.transactions",
    key="transaction_id",
    event_time="tx_datetime",
    columns={
        "transaction_id": "int64",
        "tx_datetime": "timestamptz",
        "customer_id": "int64",
        "terminal_id": "int64",
        "tx_amount": "decimal(2)",
    },
    description="Every payment",
)
transaction_labels = declare.captured(
    name="transaction_labels",
    source="bank",
    table="public.transaction_labels",
    key="transaction_id",
    event_time="labelled_at",
    columns={
        "transaction_id": "int64",
        "terminal_id": "int64",
        "is_fraud": "int64",
        "labelled_at": "timestamptz",
    },
    description="What investigators found, from the time at which they said so",
)

customer_payments = StreamFeatureView(
    name="customer_payments",
    description="Number and mean amount of a customer's payments",
    entities=[customer],
    source=transactions,
    timestamp_field="tx_datetime",
    ttl=_REACHED_TTL,
    schema=[
        Field(name="customer_id", dtype=Int64),
        *(Field(name=f"customer_tx_count_{days}d", dtype=Int64) for days in _DAYS),
        *(Field(name=f"customer_tx_amount_mean_{days}d", dtype=Float64) for days in _DAYS),
    ],
    aggregations=[
        *declare.windows("*", "count", "customer_tx_count_{days}d", _DAYS),
        *declare.windows("tx_amount", "mean", "customer_tx_amount_mean_{days}d", _DAYS),
    ],
    tags=declare.view_tags(),
)
terminal_labels = StreamFeatureView(
    name="terminal_labels",
    description="Number of a terminal's labels and the share of frauds among them, by the time of the label",
    entities=[terminal],
    source=transaction_labels,
    timestamp_field="labelled_at",
    ttl=_REACHED_TTL,
    schema=[
        Field(name="terminal_id", dtype=Int64),
        *(Field(name=f"terminal_label_count_{days}d", dtype=Int64) for days in _DAYS),
        *(Field(name=f"terminal_fraud_rate_{days}d", dtype=Float64) for days in _DAYS),
    ],
    aggregations=[
        *declare.windows("*", "count", "terminal_label_count_{days}d", _DAYS),
        *declare.windows("is_fraud", "mean", "terminal_fraud_rate_{days}d", _DAYS),
    ],
    tags=declare.view_tags(defaults={f"terminal_fraud_rate_{days}d": 0.0 for days in _DAYS}),
)

payment = RequestSource(
    name="payment",
    schema=[Field(name="tx_amount", dtype=Float64), Field(name="tx_datetime", dtype=Int64)],
    description="The payment in hand; tx_datetime is int64 µs UTC",
)


@on_demand_feature_view(  # type: ignore[untyped-decorator]  # Feast's has no types
    name="payment_calendar",
    sources=[payment],
    schema=[Field(name="amount", dtype=Float64), Field(name="weekend", dtype=Int64), Field(name="night", dtype=Int64)],
    mode="python",
    tags=declare.request_tags(
        {name: f"feature_repo.card_fraud.calendar:{name}" for name in ("amount", "weekend", "night")}
    ),
)
def payment_calendar(inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns in, columns out, one value a payment."""
    from feature_repo.card_fraud import calendar

    rows = [
        {"tx_amount": amount, "tx_datetime": at}
        for amount, at in zip(inputs["tx_amount"], inputs["tx_datetime"], strict=True)
    ]
    return {
        "amount": [calendar.amount(row) for row in rows],
        "weekend": [calendar.weekend(row) for row in rows],
        "night": [calendar.night(row) for row in rows],
    }


card_fraud = FeatureService(
    name="card_fraud",
    description="The 15 inputs of the card fraud model, in its order",
    features=[
        payment_calendar,
        customer_payments[[f"customer_{what}_{days}d" for days in _DAYS for what in ("tx_count", "tx_amount_mean")]],
        terminal_labels[[f"terminal_{what}_{days}d" for days in _DAYS for what in ("label_count", "fraud_rate")]],
    ],
    tags=declare.service_tags(
        events=transactions,
        row=("transaction_id", "tx_datetime", "customer_id", "terminal_id", "tx_amount"),
        model="card_fraud",
        policy="feature_repo.card_fraud.policy:POLICY",
    ),
)
