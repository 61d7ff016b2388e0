"""What Feast's objects cannot say, written as tags ``appliance.*`` by these helpers, and read by the compiler.

Feast's own arguments stay the place of everything they can say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from feast import FileSource, KafkaSource
from feast.aggregation import Aggregation
from feast.data_format import DeltaFormat, JsonFormat

from appliance.layout import Layout
from appliance.names import Names

_NAMES = Names("main")
_TYPES = ("int64", "decimal", "float64", "string", "bool", "timestamp", "timestamptz")

_KNOWN_AT = "known_at"
"""The time column of a change table whose rows have none of their own: Feast wants one of every source."""


def captured(
    *,
    name: str,
    source: str,
    table: str,
    key: str,
    columns: Mapping[str, str],
    event_time: str = "",
    time_zone: str = "",
    description: str = "",
) -> KafkaSource:
    """The change log of a captured table, with the lake's change table as its batch source.

    source: alias of the registered database. table: ``schema.table``. key: its primary key column. columns: name →
    int64, decimal(scale), float64, string, bool, timestamp or timestamptz. time_zone: needed where event_time is a
    timestamp without zone. A table without event_time is captured into the lake, and no windowed view can stand on it.
    """
    for column, kind in columns.items():
        if kind.partition("(")[0] not in _TYPES:
            raise ValueError(f"column {column!r} of {table} has type {kind!r}, expected one of {_TYPES}")
    tags = {
        "appliance.source": source,
        "appliance.table": table,
        "appliance.key": key,
        "appliance.event_time": event_time,
        "appliance.columns": json.dumps(dict(columns)),
        "appliance.time_zone": time_zone,
    }
    return KafkaSource(
        name=name,
        timestamp_field=event_time or _KNOWN_AT,
        message_format=JsonFormat(schema_json=", ".join(f"{column} {kind}" for column, kind in columns.items())),
        topic=_NAMES.cdc(source, table),
        batch_source=FileSource(
            name=f"{name}_changes",
            path=str(Layout.current().lake / _NAMES.lake_changes(source, table)),
            file_format=DeltaFormat(),
            timestamp_field=event_time or _KNOWN_AT,
        ),
        tags=tags,
        description=description,
    )


def windows(column: str, function: str, name: str, days: Sequence[int]) -> list[Aggregation]:
    """One aggregation for each window; ``{days}`` in ``name`` is replaced. Column ``*`` counts rows."""
    return [
        Aggregation(column=column, function=function, time_window=timedelta(days=each), name=name.format(days=each))
        for each in days
    ]


def view_tags(
    *,
    defaults: Mapping[str, float] | None = None,
    where: Mapping[str, str] | None = None,
    columns: Mapping[str, str] | None = None,
    rows: str = "",
    last_n: Mapping[str, int] | None = None,
) -> dict[str, str]:
    """defaults: feature → value of an empty window. where: feature → boolean column that must be true. last_n: feature
    of that function → how many values, the oldest first.

    columns: columns of the view that are computed of a captured row, name → SQL expression, such as
    ``{"abroad": "country <> 'AT'"}``; aggregations and ``where`` take them like captured ones. rows: SQL condition; a
    captured row for which it is not TRUE is no row of the view. What is allowed: ``docs/features.md``.
    """
    tags = {"appliance.defaults": json.dumps(defaults or {}), "appliance.where": json.dumps(where or {})}
    if last_n:
        tags["appliance.last_n"] = json.dumps(dict(last_n))
    if columns:
        tags["appliance.columns"] = json.dumps(dict(columns))
    return tags | ({"appliance.rows": rows} if rows else {})


def request_tags(functions: Mapping[str, str]) -> dict[str, str]:
    """For an on-demand view on a request: feature → "module:name" of a plain function row → value."""
    return {"appliance.functions": json.dumps(functions)}


def service_tags(*, events: KafkaSource, row: Sequence[str], model: str, policy: str) -> dict[str, str]:
    """For a feature service: whose live inserts are scored, the columns a request may give, model and policy.

    policy: "module:name" of a ``Policy``-shaped mapping.
    """
    return {
        "appliance.events": events.name,
        "appliance.row": json.dumps(list(row)),
        "appliance.model": model,
        "appliance.policy": policy,
    }
