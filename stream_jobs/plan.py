"""The plan file: what the compiler (which has Feast) tells every process that has not.

Written by ``stream_jobs.compiler`` to ``Layout.plan_file``; read by Flink's submitter, the writers and the scorer.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Literal

import msgspec

from appliance.errors import PartError

Function = Literal["count", "sum", "mean", "min", "max", "std", "count_distinct", "first", "last", "last_n"]
ColumnType = Literal["int64", "decimal", "float64", "string", "bool", "timestamp_us"]


class Column(msgspec.Struct, frozen=True):
    """scale: digits after the point of a decimal."""

    name: str
    type: ColumnType
    scale: int = 0


class WindowFeature(msgspec.Struct, frozen=True):
    """An aggregate over the rows with ``as_of - window_us < event time ≤ as_of``.

    column: None for count(*). where: name of a boolean column that must be true, None for every row.
    default: value of an empty window; None means the function's own (count, sum, count_distinct 0, others null).
    """

    name: str
    function: Function
    column: str | None
    window_us: int
    where: str | None = None
    n: int = 1
    default: float | int | None = None


class Expression(msgspec.Struct, frozen=True):
    """sql: as it was written (see ``stream_jobs.expressions``). meaning: its one canonical text.

    name: of the derived column, "" for the filter of a view's rows.
    """

    name: str
    sql: str
    meaning: str


class View(msgspec.Struct, frozen=True):
    """A windowed view of one captured table.

    source_topic: the captured table's topic. join_keys: columns that name the entity, in order.
    row_id: the table's primary key column. event_time: its time column. columns: those an edit carries.
    sql: the Flink SQL script that makes edits of changes. definition_hash: SHA-256 of the canonical definition.
    ttl_ms: how old the position reached may be before a value counts as stale; None for any age.
    derived: the expressions of those columns that are computed of a row. rows: what a captured row must satisfy to be a
    row of the view. reads: the captured columns that these expressions read.
    """

    name: str
    version: int
    source: str
    table: str
    source_topic: str
    edits_topic: str
    entity: str
    join_keys: tuple[str, ...]
    row_id: str
    event_time: str
    columns: tuple[Column, ...]
    features: tuple[WindowFeature, ...]
    sql: str
    definition_hash: str
    ttl_ms: int | None = None
    derived: tuple[Expression, ...] = ()
    rows: Expression | None = None
    reads: tuple[Column, ...] = ()

    @property
    def transformed(self) -> bool:
        """Whether rows pass an SQL transformation."""
        return bool(self.derived) or self.rows is not None

    @property
    def row_columns(self) -> tuple[str, ...]:
        """The captured columns that an edit's columns are made of."""
        derived = {one.name for one in self.derived}
        carried = (column.name for column in self.columns if column.name not in derived)
        return tuple(dict.fromkeys((*carried, *(column.name for column in self.reads))))

    @property
    def captured_columns(self) -> tuple[str, ...]:
        """All columns of the captured table that the view reads."""
        return tuple(dict.fromkeys((self.row_id, *self.join_keys, self.event_time, *self.row_columns)))


class RequestFeature(msgspec.Struct, frozen=True):
    """A feature computed from the row in hand by ``function`` ("module:name", a plain function row → value)."""

    name: str
    function: str


class Policy(msgspec.Struct, frozen=True):
    """score ≥ decline → decline; score ≥ review → review, at most ``daily_review_capacity`` a day; else approve."""

    review: float
    decline: float
    daily_review_capacity: int
    explain: str
    """"module:name" of a plain function (row, features, score) → kind of alert, a short text."""
    score_updates: bool = False


class Service(msgspec.Struct, frozen=True):
    """A feature service with its model and policy.

    event_table, event_key, event_time: the captured table whose live inserts are scored, its key and time columns.
    row: the columns a request must or may give. row_views: views to which the row in hand is added (same table).
    features: model inputs in order, "view:feature", or "request:feature" for request features.
    """

    name: str
    source: str
    event_table: str
    event_topic: str
    event_key: str
    event_time: str
    row: tuple[Column, ...]
    views: tuple[str, ...]
    row_views: tuple[str, ...]
    request_features: tuple[RequestFeature, ...]
    features: tuple[str, ...]
    model: str
    policy: Policy
    definition_hash: str


class CapturedTable(msgspec.Struct, frozen=True):
    """A table to capture.

    event_time: its time column, "" for none. full_identity: its old values matter, so it needs REPLICA IDENTITY FULL.
    zoneless: columns that are times without zone, on the wire a number of µs; other times are ISO 8601 text.
    """

    source: str
    table: str
    topic: str
    primary_key: tuple[str, ...]
    columns: tuple[Column, ...]
    event_time: str
    full_identity: bool
    zoneless: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """Everything the processes need to know of a scenario.

    views: the version of each view that is read. coming: versions being filled, which are to take the place of those.
    former: versions kept up to date so that one can go back to them. A view has at most one of each.
    dropped: versions whose topic, keys and table are still to be removed.
    coming_services: what a service is to be once its views, and where its inputs differ its model, are there.
    former_services: what a service was before. going: views to be given up once no service uses them.
    kept_until: ``<view>.v<N>`` or ``service:<name>`` → how long a former version or service is kept, µs wall clock.
    to_fill: ``<view>.v<N>`` of versions whose edits come from the lake first; their jobs have not begun.
    """

    scenario: str
    tables: tuple[CapturedTable, ...]
    views: tuple[View, ...]
    services: tuple[Service, ...]
    time_zone: str = "UTC"
    coming: tuple[View, ...] = ()
    former: tuple[View, ...] = ()
    dropped: tuple[View, ...] = ()
    coming_services: tuple[Service, ...] = ()
    former_services: tuple[Service, ...] = ()
    going: tuple[str, ...] = ()
    kept_until: dict[str, int] = {}
    to_fill: tuple[str, ...] = ()

    @property
    def computed(self) -> tuple[View, ...]:
        """Every version that has a job, a topic and its place in the stores."""
        return (*self.views, *self.coming, *self.former)

    def view(self, name: str) -> View:
        for view in self.views:
            if view.name == name:
                return view
        raise PartError("plan.no_view", f"no view {name!r} in the plan; there are {[v.name for v in self.views]}")

    @property
    def wanted_views(self) -> dict[str, View]:
        """View → the version that was applied last: the one coming if there is one, else the one served."""
        return {view.name: view for view in (*self.views, *self.coming)}

    def wanted_service(self, name: str) -> Service:
        """What a service is to be: the coming definition if there is one, which a new model is trained for."""
        return next((each for each in self.coming_services if each.name == name), None) or self.service(name)

    def service(self, name: str) -> Service:
        for service in self.services:
            if service.name == name:
                return service
        raise PartError(
            "plan.no_service", f"no service {name!r} in the plan; there are {[s.name for s in self.services]}"
        )


def read(path: Path) -> Plan:
    """Raises PartError when no plan has been compiled yet."""
    if not path.exists():
        raise PartError("plan.missing", f"no plan at {path}", hint="appliance features apply")
    return msgspec.json.decode(path.read_bytes(), type=Plan)


def write(plan: Plan, path: Path) -> None:
    """Replace the plan file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(plan), indent=1))
    temporary.rename(path)
    for service in plan.services:
        _remember(plan, service, path)


class PolicySince(msgspec.Struct, frozen=True):
    """since: when the plan with this policy was written, µs wall clock; readers take it up within some seconds."""

    since: int
    policy: Policy


class ServiceDefinition(msgspec.Struct, frozen=True):
    """What a service's definition hash stood for. views: view → its definition hash.

    plan: the service with its views and their tables, as they were: enough to compute its features from the lake when
    no plan has them any more. None in what was kept before this was.
    """

    views: dict[str, str]
    request_features: tuple[RequestFeature, ...]
    plan: Plan | None = None


def definition(path: Path, definition_hash: str) -> ServiceDefinition | None:
    """What the hash stood for in a plan once written to ``path``; None if it was in none of them."""
    kept = _definition_file(path, definition_hash)
    return msgspec.json.decode(kept.read_bytes(), type=ServiceDefinition) if kept.exists() else None


def policies(path: Path, service: str) -> list[PolicySince]:
    """The policies that a service has had in plans written to ``path``, the oldest first.

    The definition hash does not speak of the policy, which changes more often and changes no feature.
    """
    kept = _policies_file(path, service)
    return msgspec.json.decode(kept.read_bytes(), type=list[PolicySince]) if kept.exists() else []


def _definition_file(path: Path, definition_hash: str) -> Path:
    return path.parent / "services" / f"{definition_hash}.json"


def _policies_file(path: Path, service: str) -> Path:
    return path.parent / "policies" / f"{service}.json"


def _remember(plan: Plan, service: Service, path: Path) -> None:
    """Keep what the ledger's definition hashes mean, and which policy decided, also when the plan has moved on."""
    known = definition(path, service.definition_hash)
    if known is None or known.plan is None:
        views = tuple(plan.view(name) for name in service.views)
        read = {(view.source, view.table) for view in views}
        tables = tuple(table for table in plan.tables if (table.source, table.table) in read)
        alone = Plan(plan.scenario, tables, views, (service,), plan.time_zone)
        hashes = {view.name: view.definition_hash for view in views}
        meaning = ServiceDefinition(hashes, service.request_features, alone)
        _keep(_definition_file(path, service.definition_hash), msgspec.json.encode(meaning))
    had = policies(path, service.name)
    if not had or had[-1].policy != service.policy:
        now = PolicySince(time.time_ns() // 1_000, service.policy)
        _keep(_policies_file(path, service.name), msgspec.json.encode([*had, now]))


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.rename(path)
