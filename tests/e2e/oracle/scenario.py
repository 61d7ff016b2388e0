"""The views of the oracle run. This text is put at the end of the installed scenario's ``features.py``."""

from datetime import timedelta
from typing import Any

from feast import Entity, Field, KafkaSource, StreamFeatureView, ValueType
from feast.aggregation import Aggregation
from feast.types import Bool, Float64, Int64, String

from feature_repo import declare

_HOUR, _DAY, _WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)

oracle_customer = Entity(name="oracle_customer", join_keys=["customer"], value_type=ValueType.INT64)
oracle_site = Entity(name="oracle_site", join_keys=["site"], value_type=ValueType.STRING)
oracle_visitor = Entity(name="oracle_visitor", join_keys=["visitor"], value_type=ValueType.INT64)
oracle_device = Entity(name="oracle_device", join_keys=["device"], value_type=ValueType.STRING)

oracle_orders_table = declare.captured(
    name="oracle_orders_table",
    source="oracle",
    table="public.orders",
    key="id",
    event_time="placed_at",
    columns={
        "id": "int64",
        "customer": "int64",
        "placed_at": "timestamptz",
        "amount": "decimal(2)",
        "quantity": "int64",
        "channel": "string",
        "express": "bool",
    },
)
oracle_visits_table = declare.captured(
    name="oracle_visits_table",
    source="oracle",
    table="public.visits",
    key="id",
    event_time="at",
    time_zone="UTC",
    columns={
        "id": "string",
        "site": "string",
        "visitor": "int64",
        "at": "timestamp",
        "seconds": "float64",
        "page": "string",
        "ok": "bool",
        "cost": "decimal(4)",
    },
)
oracle_readings_table = declare.captured(
    name="oracle_readings_table",
    source="oracle",
    table="public.readings",
    key="id",
    event_time="at",
    columns={
        "id": "int64",
        "device": "string",
        "at": "timestamptz",
        "value": "decimal(3)",
        "code": "int64",
        "fault": "bool",
        "note": "string",
    },
)


def _oracle_view(
    name: str,
    entities: list[Entity],
    table: KafkaSource,
    time: str,
    features: dict[str, tuple[str, str, timedelta, Any]],
    **tags: Any,
) -> StreamFeatureView:
    """features: name → (function, column, window, type)."""
    return StreamFeatureView(
        name=name,
        entities=entities,
        source=table,
        timestamp_field=time,
        ttl=timedelta(minutes=5),
        schema=[
            *(Field(name=key.join_key, dtype=Int64 if key.value_type is ValueType.INT64 else String)
              for key in entities),
            *(Field(name=feature, dtype=kind) for feature, (_, _, _, kind) in features.items()),
        ],
        aggregations=[
            Aggregation(column=column, function=function, time_window=window, name=feature)
            for feature, (function, column, window, _) in features.items()
        ],
        tags=declare.view_tags(**tags),
    )  # fmt: skip


oracle_orders = _oracle_view(
    "oracle_orders",
    [oracle_customer],
    oracle_orders_table,
    "placed_at",
    {
        "orders_1h": ("count", "*", _HOUR, Int64),
        "orders_7d": ("count", "*", _WEEK, Int64),
        "quantities_7d": ("count", "quantity", _WEEK, Int64),
        "express_1d": ("count", "*", _DAY, Int64),
        "amount_sum_1d": ("sum", "amount", _DAY, Float64),
        "amount_mean_7d": ("mean", "amount", _WEEK, Float64),
        "amount_min_7d": ("min", "amount", _WEEK, Float64),
        "amount_max_1d": ("max", "amount", _DAY, Float64),
        "amount_std_7d": ("std", "amount", _WEEK, Float64),
        "express_amount_sum_7d": ("sum", "amount", _WEEK, Float64),
        "quantity_sum_7d": ("sum", "quantity", _WEEK, Int64),
        "quantity_std_1d": ("std", "quantity", _DAY, Float64),
        "channels_7d": ("count_distinct", "channel", _WEEK, Int64),
        "first_channel_7d": ("first", "channel", _WEEK, String),
        "last_channel_1d": ("last", "channel", _DAY, String),
        "last_amount_7d": ("last", "amount", _WEEK, Float64),
        "last_express_quantity_7d": ("last", "quantity", _WEEK, Int64),
    },
    where={"express_1d": "express", "express_amount_sum_7d": "express", "last_express_quantity_7d": "express"},
    defaults={"amount_max_1d": -1.0},
)
oracle_visits = _oracle_view(
    "oracle_visits",
    [oracle_site, oracle_visitor],
    oracle_visits_table,
    "at",
    {
        "visits_1h": ("count", "*", _HOUR, Int64),
        "visits_7d": ("count", "*", _WEEK, Int64),
        "ok_visits_1d": ("count", "*", _DAY, Int64),
        "seconds_sum_7d": ("sum", "seconds", _WEEK, Float64),
        "seconds_mean_1d": ("mean", "seconds", _DAY, Float64),
        "seconds_min_7d": ("min", "seconds", _WEEK, Float64),
        "seconds_max_7d": ("max", "seconds", _WEEK, Float64),
        "seconds_std_7d": ("std", "seconds", _WEEK, Float64),
        "ok_seconds_mean_7d": ("mean", "seconds", _WEEK, Float64),
        "cost_sum_7d": ("sum", "cost", _WEEK, Float64),
        "costs_7d": ("count_distinct", "cost", _WEEK, Int64),
        "pages_7d": ("count_distinct", "page", _WEEK, Int64),
        "first_page_1d": ("first", "page", _DAY, String),
        "last_page_7d": ("last", "page", _WEEK, String),
        "last_ok_7d": ("last", "ok", _WEEK, Bool),
    },
    where={"ok_visits_1d": "ok", "ok_seconds_mean_7d": "ok"},
)
oracle_readings = _oracle_view(
    "oracle_readings",
    [oracle_device],
    oracle_readings_table,
    "at",
    {
        "readings_1h": ("count", "*", _HOUR, Int64),
        "readings_7d": ("count", "*", _WEEK, Int64),
        "faults_7d": ("count", "*", _WEEK, Int64),
        "value_sum_1h": ("sum", "value", _HOUR, Float64),
        "value_mean_7d": ("mean", "value", _WEEK, Float64),
        "value_min_1d": ("min", "value", _DAY, Float64),
        "value_max_7d": ("max", "value", _WEEK, Float64),
        "value_std_7d": ("std", "value", _WEEK, Float64),
        "first_value_1d": ("first", "value", _DAY, Float64),
        "code_max_7d": ("max", "code", _WEEK, Int64),
        "code_mean_7d": ("mean", "code", _WEEK, Float64),
        "codes_7d": ("count_distinct", "code", _WEEK, Int64),
        "last_code_7d": ("last", "code", _WEEK, Int64),
        "note_min_7d": ("min", "note", _WEEK, String),
        "note_max_1d": ("max", "note", _DAY, String),
        "last_fault_value_7d": ("last", "value", _WEEK, Float64),
    },
    where={"faults_7d": "fault", "last_fault_value_7d": "fault"},
)
