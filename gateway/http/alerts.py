"""``GET /v1/alerts`` and ``GET /v1/summary``."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request, get
from litestar.params import Parameter
from opensearchpy import OpenSearch

from appliance.clients.opensearch import FAILURES
from appliance.names import Names
from gateway.alerts import search
from gateway.counts import SCORED, Counts
from gateway.errors import Fault, InvalidError, NotFoundError, PartDownError
from gateway.http.auth import Caller
from gateway.http.serving import Serving
from gateway.http.status import Watch
from stream_jobs.plan import Plan

_DAYS_SHOWN = 14
_LATEST = 12
_DECISIONS = ("review", "decline")


class Figures(msgspec.Struct, frozen=True):
    """scored_by_way: cdc (committed rows), http and kafka (requests). by_kind: alerts of each kind."""

    scored: int
    alerts: int
    scored_by_way: dict[str, int]
    by_kind: dict[str, int]


class DayFigures(msgspec.Struct, frozen=True):
    day: str
    scored: int
    alerts: int


class Summary(msgspec.Struct, frozen=True):
    """The console's figures. Days are days of the event time in ``time_zone``, today is the appliance clock's day,
    the week begins on Monday. days: the last 14, the oldest first. latest: the alerts raised last, the newest first."""

    running: bool
    sentence: str
    clock: str
    time_zone: str
    today: Figures
    week: Figures
    days: list[DayFigures]
    latest: list[search.AlertView]


class AlertDesk:
    """Asks OpenSearch. Raises PartDownError when it does not answer."""

    def __init__(self, client: OpenSearch, names: Names) -> None:
        self._client, self._names = client, names

    def ask(self, question: search.Question) -> search.AlertPage:
        if not question.services:
            return search.AlertPage(0, question.offset, [], {}, {}, {})
        try:
            return search.ask(self._client, self._names, question)
        except FAILURES as error:
            raise PartDownError("opensearch", error) from error

    def overview(
        self, services: tuple[str, ...], since: tuple[int, int, int], until: int, zone: str
    ) -> search.Overview:
        if not services:
            return search.Overview({}, {}, {}, [])
        try:
            return search.overview(self._client, self._names, services, since, until, zone, _LATEST)
        except FAILURES as error:
            raise PartDownError("opensearch", error) from error


def _begin(day: date, zone: ZoneInfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp()) * 1_000_000


def summary(serving: Serving, desk: AlertDesk, counts: Counts, watch: Watch, services: tuple[str, ...]) -> Summary:
    """The figures of some services. Raises PartDownError when Redis or OpenSearch does not answer."""
    zone = ZoneInfo(serving.plan.time_zone)
    now_us = serving.now_us()
    today = datetime.fromtimestamp(now_us / 1e6, zone).date()
    week = today - timedelta(days=today.weekday())
    days = [(today - timedelta(days=back)) for back in reversed(range(_DAYS_SHOWN))]
    scored = counts.read(services, [day.isoformat() for day in days])
    begins = (_begin(today, zone), _begin(week, zone), _begin(days[0], zone))
    alerts = desk.overview(services, begins, _begin(today + timedelta(days=1), zone), serving.plan.time_zone)

    def figures(since: date, by_kind: dict[str, int]) -> Figures:
        counters = [scored[day.isoformat()] for day in days if day >= since]
        ways = {way: sum(c[f"way:{way}"] for c in counters) for way in ("cdc", "http", "kafka")}
        return Figures(sum(c[SCORED] for c in counters), sum(by_kind.values()), ways, by_kind)

    state = watch.now()
    return Summary(
        running=state.running,
        sentence=state.sentence,
        clock=datetime.fromtimestamp(now_us / 1e6, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        time_zone=serving.plan.time_zone,
        today=figures(today, alerts.today),
        week=figures(week, alerts.week),
        days=[
            DayFigures(day.isoformat(), scored[day.isoformat()][SCORED], alerts.by_day.get(day.isoformat(), 0))
            for day in days
        ],
        latest=alerts.latest,
    )


@get("/v1/summary", summary="The console's figures", tags=["console"])
async def get_summary(
    request: Request[Caller, Any, Any], serving: Serving, desk: AlertDesk, counts: Counts, watch: Watch
) -> Summary:
    """What was scored and raised today and this week by the appliance clock, and the latest alerts."""
    services = request.user.services(serving.services())
    return await asyncio.to_thread(summary, serving, desk, counts, watch, services)


def _time(name: str, text: str | None, faults: list[Fault]) -> int | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        faults.append(Fault(name, "ISO 8601 with a zone, such as 2026-01-31T00:00:00Z", repr(text)[:80]))
        return None
    if at.tzinfo is None:
        faults.append(Fault(name, "ISO 8601 with a zone, such as 2026-01-31T00:00:00Z", repr(text)[:80]))
        return None
    return round(at.timestamp() * 1e6)


def row_filters(plan: Plan, wanted: dict[str, str], faults: list[Fault]) -> dict[str, str]:
    """``customer=42`` → ``{"customer_id": "42"}``: entities of the plan, or fields of a service's row."""
    fields = {column.name: column.type for service in plan.services for column in service.row}
    names = {view.entity: view.join_keys[0] for view in plan.views if len(view.join_keys) == 1}
    filters = {}
    for name, value in wanted.items():
        field = names.get(name, name)
        if field not in fields:
            faults.append(Fault(name, f"one of {sorted(_PARAMETERS | names.keys() | fields.keys())}", "unknown"))
        elif fields[field] in ("int64", "timestamp_us") and not value.lstrip("-").isdigit():
            faults.append(Fault(name, "a whole number", repr(value)[:80]))
        else:
            filters[field] = value
    return filters


_PARAMETERS = frozenset(
    {"service", "text", "from", "to", "min_score", "max_score", "decision", "kind", "limit", "offset"}
)
_Limit = Annotated[int, Parameter(ge=1, le=search.MOST_SHOWN)]
_Offset = Annotated[int, Parameter(ge=0, le=search.DEEPEST - search.MOST_SHOWN)]


@get("/v1/alerts", summary="Search alerts", tags=["alerts"])
async def get_alerts(
    request: Request[Caller, Any, Any],
    serving: Serving,
    desk: AlertDesk,
    service: str | None = None,
    text: Annotated[str, Parameter(description="words to find; all must be there", max_length=200)] = "",
    since: Annotated[str | None, Parameter(query="from", description="event time, from; ISO 8601 with a zone")] = None,
    until: Annotated[str | None, Parameter(query="to", description="event time, before; ISO 8601 with a zone")] = None,
    min_score: Annotated[float | None, Parameter(ge=0, le=1)] = None,
    max_score: Annotated[float | None, Parameter(ge=0, le=1)] = None,
    decision: str = "",
    kind: str = "",
    limit: _Limit = 20,
    offset: _Offset = 0,
) -> search.AlertPage:
    """Alerts, the newest first, with how many there are for each day, kind and decision. Any other parameter names an
    entity (`customer=42`, `terminal=7`) or a field of the row (`customer_id=42`)."""
    faults: list[Fault] = []
    mine = request.user.services(serving.services())
    if service is not None:
        if service not in serving.services():
            raise NotFoundError("service.unknown", f"there is no service {service!r}", hint="GET /v1/services")
        request.user.may_use(service)
        mine = (service,)
    if decision and decision not in _DECISIONS:
        faults.append(Fault("decision", f"one of {list(_DECISIONS)}", repr(decision)[:80]))
    others = {name: value for name, value in request.query_params.items() if name not in _PARAMETERS}
    question = search.Question(
        services=mine,
        text=text,
        from_us=_time("from", since, faults),
        to_us=_time("to", until, faults),
        min_score=min_score,
        max_score=max_score,
        decision=decision,
        kind=kind,
        row=row_filters(serving.plan, others, faults),
        limit=limit,
        offset=offset,
        zone=serving.plan.time_zone,
    )
    if faults:
        raise InvalidError("query", faults, hint="GET /v1/schema describes the API")
    return await asyncio.to_thread(desk.ask, question)
