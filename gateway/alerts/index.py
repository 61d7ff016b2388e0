"""The indexes of a service's alerts: one a month behind one alias, with an explicit mapping, deleted when old."""

from __future__ import annotations

import calendar
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from appliance.names import Names
from stream_jobs.plan import Column, Service

_MONTH = re.compile(r"-(\d{4})\.(\d{2})$")
_TYPES: dict[str, dict[str, Any]] = {
    "int64": {"type": "long"},
    "decimal": {"type": "double"},
    "float64": {"type": "double"},
    "string": {"type": "keyword", "ignore_above": 1024},
    "bool": {"type": "boolean"},
    "timestamp_us": {"type": "long"},
}


def name(names: Names, service: str, as_of_us: int) -> str:
    """The index of an alert: its month is that of the event's time (UTC), so each way of an event finds the same."""
    return f"{names.alert_index(service)}-{datetime.fromtimestamp(as_of_us / 1e6, UTC):%Y.%m}"


def _row_field(column: Column) -> dict[str, Any]:
    field = dict(_TYPES[column.type])
    if column.type in ("string", "int64"):
        field["copy_to"] = "text"
    return field


def template(names: Names, service: Service) -> dict[str, Any]:
    """The index template of a service's alerts. Fields that are not named here are refused (``strict``)."""
    alias = names.alert_index(service.name)
    keyword = {"type": "keyword"}
    return {
        "index_patterns": [f"{alias}-*"],
        "template": {
            "aliases": {alias: {}},
            "settings": {
                "number_of_shards": 1,
                "number_of_replicas": 0,
                "refresh_interval": "500ms",
                "max_result_window": 10_000,
            },
            "mappings": {
                "dynamic": "strict",
                "properties": {
                    "alert_id": keyword,
                    "service": keyword,
                    "event_key": {"type": "keyword", "copy_to": "text"},
                    "as_of": {"type": "date", "format": "epoch_millis"},
                    "as_of_us": {"type": "long"},
                    "raised_at_us": {"type": "long"},
                    "scored_at_us": {"type": "long"},
                    "committed_at_us": {"type": "long"},
                    "ways": keyword,
                    "prediction_ids": keyword,
                    "prediction_id": keyword,
                    "score": {"type": "double"},
                    "decision": keyword,
                    "kind": {"type": "keyword", "copy_to": "text"},
                    "reason": {"type": "text", "copy_to": "text"},
                    "model": keyword,
                    "model_version": keyword,
                    "text": {"type": "text"},
                    "row": {
                        "dynamic": "strict",
                        "properties": {column.name: _row_field(column) for column in service.row},
                    },
                    "features": {"type": "object", "enabled": False},
                    "explanation": {"type": "object", "enabled": False},
                },
            },
        },
    }


def expired(index: str, created_us: int, now_us: int, wall_us: int, retention_days: int) -> bool:
    """Whether an index may go: its last event *and* the index itself are older than the retention.

    The first is told by the appliance clock, the second by the wall clock, so that old data that were replayed
    yesterday do not vanish when the clock comes back to the present.
    """
    match = _MONTH.search(index)
    if match is None:
        return False
    year, month = int(match[1]), int(match[2])
    end = datetime(year, month, calendar.monthrange(year, month)[1], tzinfo=UTC) + timedelta(days=1)
    retention_us = retention_days * 86_400_000_000
    return end.timestamp() * 1e6 + retention_us < now_us and created_us + retention_us < wall_us
