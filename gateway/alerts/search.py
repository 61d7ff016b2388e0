"""Questions about alerts → OpenSearch queries → answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance.names import Names
from appliance.records import FeatureValue, Value
from gateway.alerts.explanation import Explanation

MOST_SHOWN = 200
DEEPEST = 10_000
_NEWEST_FIRST: list[dict[str, str]] = [{"as_of_us": "desc"}, {"alert_id": "asc"}]
_RAISED_LAST_FIRST: list[dict[str, str]] = [{"raised_at_us": "desc"}, {"alert_id": "asc"}]


class AlertView(msgspec.Struct, frozen=True):
    """An alert as the API shows it. Times are ISO 8601 UTC. explanation: null for one that was filed before there were
    any."""

    alert_id: str
    service: str
    event_key: str
    as_of: str
    raised_at: str
    score: float
    decision: str
    kind: str
    reason: str
    ways: list[str]
    prediction_id: str
    model: str
    model_version: str
    row: dict[str, Value]
    features: dict[str, FeatureValue]
    explanation: Explanation | None = None


class AlertPage(msgspec.Struct, frozen=True):
    """total: alerts that match. by_day, by_kind, by_decision: how many of them."""

    total: int
    offset: int
    alerts: list[AlertView]
    by_day: dict[str, int]
    by_kind: dict[str, int]
    by_decision: dict[str, int]


@dataclass(frozen=True)
class Question:
    """What to look for. from_us ≤ event time < to_us. row: exact values of row fields (customer, terminal, …)."""

    services: tuple[str, ...]
    text: str = ""
    from_us: int | None = None
    to_us: int | None = None
    min_score: float | None = None
    max_score: float | None = None
    decision: str = ""
    kind: str = ""
    row: dict[str, str] = field(default_factory=dict)
    limit: int = 20
    offset: int = 0
    zone: str = "UTC"


def iso(time_us: int) -> str:
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _range(low: float | None, high: float | None, *, below: bool) -> dict[str, float]:
    bounds = {"gte": low, "lt" if below else "lte": high}
    return {name: value for name, value in bounds.items() if value is not None}


def query(question: Question) -> dict[str, Any]:
    """The search body of a question, the newest alerts first."""
    filters: list[dict[str, Any]] = []
    if times := _range(question.from_us, question.to_us, below=True):
        filters.append({"range": {"as_of_us": times}})
    if scores := _range(question.min_score, question.max_score, below=False):
        filters.append({"range": {"score": scores}})
    filters += [{"term": {name: value}} for name in ("decision", "kind") if (value := getattr(question, name))]
    filters += [{"term": {f"row.{name}": value}} for name, value in sorted(question.row.items())]
    wanted: dict[str, Any] = {"filter": filters}
    if question.text:
        wanted["must"] = [
            {"simple_query_string": {"query": question.text, "fields": ["text"], "default_operator": "and"}}
        ]
    return {
        "from": question.offset,
        "size": question.limit,
        "track_total_hits": True,
        "query": {"bool": wanted},
        "sort": _NEWEST_FIRST,
        "aggs": {
            "by_day": _by_day(question.zone),
            "by_kind": {"terms": {"field": "kind", "size": 50}},
            "by_decision": {"terms": {"field": "decision", "size": 10}},
        },
    }


class Overview(msgspec.Struct, frozen=True):
    """What the console shows of alerts. today, week: kind → how many. by_day: day → how many."""

    today: dict[str, int]
    week: dict[str, int]
    by_day: dict[str, int]
    latest: list[AlertView]


def overview(
    client: Any,
    names: Names,
    services: tuple[str, ...],
    since: tuple[int, int, int],
    until: int,
    zone: str,
    latest: int,
) -> Overview:
    """In one search: the alerts raised last, whose events may be older than others', and counts from the begins of
    today, the week and the days shown (µs UTC)."""
    today, week, first = since
    kinds = {"terms": {"field": "kind", "size": 50}}

    def within(begin: int, groups: dict[str, Any]) -> dict[str, Any]:
        return {"filter": {"range": {"as_of_us": {"gte": begin, "lt": until}}}, "aggs": {"groups": groups}}

    answer = _search(
        client,
        names,
        services,
        {
            "size": latest,
            "sort": _RAISED_LAST_FIRST,
            "aggs": {"today": within(today, kinds), "week": within(week, kinds), "days": within(first, _by_day(zone))},
        },
    )
    groups = answer.get("aggregations")
    counts = {name: _counts(groups[name]["groups"]["buckets"]) if groups else {} for name in ("today", "week", "days")}
    return Overview(counts["today"], counts["week"], counts["days"], [_view(hit) for hit in answer["hits"]["hits"]])


def _search(client: Any, names: Names, services: tuple[str, ...], body: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.search(
        index=",".join(names.alert_index(service) for service in services),
        body=body,
        params={"ignore_unavailable": "true", "allow_no_indices": "true"},
    )
    return found


def _by_day(zone: str) -> dict[str, Any]:
    return {
        "date_histogram": {
            "field": "as_of",
            "calendar_interval": "day",
            "time_zone": zone,
            "format": "yyyy-MM-dd",
            "min_doc_count": 1,
        }
    }


def _view(hit: dict[str, Any]) -> AlertView:
    document = hit["_source"]
    document["as_of"] = iso(document["as_of_us"])
    document["raised_at"] = iso(document["raised_at_us"])
    return msgspec.convert(document, AlertView)


def _counts(buckets: list[dict[str, Any]]) -> dict[str, int]:
    return {str(bucket.get("key_as_string", bucket["key"])): bucket["doc_count"] for bucket in buckets}


def ask(client: Any, names: Names, question: Question) -> AlertPage:
    """The alerts that answer a question. ``client``: opensearch-py. Services without an alert yet have none."""
    answer = _search(client, names, question.services, query(question))
    found, groups = answer["hits"], answer.get("aggregations")
    return AlertPage(
        total=found["total"]["value"],
        offset=question.offset,
        alerts=[_view(hit) for hit in found["hits"]],
        by_day=_counts(groups["by_day"]["buckets"]) if groups else {},
        by_kind=_counts(groups["by_kind"]["buckets"]) if groups else {},
        by_decision=_counts(groups["by_decision"]["buckets"]) if groups else {},
    )
