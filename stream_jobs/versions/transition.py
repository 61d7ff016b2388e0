"""The plan before → the plan after. Every step of a change is one of these functions, and one write of the plan file.

begin      a newly compiled plan is put beside the present one
switch     readers move to the versions that are ready, in one step
rollback   readers move back
expire     former versions that were kept long enough are let go
removed    a dropped version has left the stores
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from stream_jobs.compiler import sql
from stream_jobs.compiler.definition import inputs_hash, service_hash
from stream_jobs.errors import VersionError
from stream_jobs.plan import CapturedTable, Plan, Service, View


def key(view: View) -> str:
    """How a version is called: ``<view>.v<N>``."""
    return f"{view.name}.v{view.version}"


def service_key(name: str) -> str:
    """The name of a former service in ``Plan.kept_until``."""
    return f"service:{name}"


def by_name(views: Iterable[View]) -> dict[str, View]:
    return {view.name: view for view in views}


def begin(current: Plan, wanted: Plan, scoring: Collection[str], until: int, from_lake: Collection[str] = ()) -> Plan:
    """The present plan with what is wanted beside it.

    A view that is new is served at once (it says itself what it has reached); one that changed is coming. A service
    that is new is served at once; one whose views changed waits for them, one with other inputs also for its model.
    scoring: models that serve now. until: how long what goes is kept, µs. from_lake: captured topics that no longer
    hold every change: what is new and reads them is filled from the lake before its job begins. Raises VersionError
    for a service whose inputs change while its model stays: it was not trained with them.
    """
    serving, target = by_name(current.views), by_name(wanted.views)
    moving = _Moving(current, until)
    views, coming = [], []
    there = {key(view): view for view in current.computed}
    for view in wanted.views:
        if key(view) in there:
            view = replace(view, sql=sql.start_as(view.sql, there[key(view)].sql))
        moving.take_out(view)
        present = serving.get(view.name)
        if present is None or key(present) == key(view):
            views.append(view)
        else:
            views.append(present)
            coming.append(view)
    now_serving = by_name(views) | {name: view for name, view in serving.items() if name not in target}
    services, waiting = _services(current, wanted, now_serving, target, scoring)
    used = {name for service in services for name in service.views}
    gone = [view for name, view in serving.items() if name not in target]
    views += [view for view in gone if view.name in used]
    moving.retire(view for view in gone if view.name not in used)
    moving.drop(view for view in current.coming if key(view) not in set(map(key, coming)))
    plan = replace(
        current,
        scenario=wanted.scenario,
        views=tuple(views),
        services=tuple(services),
        time_zone=wanted.time_zone,
        coming=tuple(coming),
        former=moving.former,
        dropped=moving.dropped,
        coming_services=tuple(waiting),
        going=tuple(view.name for view in gone if view.name in used),
        kept_until=moving.kept_until,
        to_fill=(
            *current.to_fill,
            *(key(view) for view in (*views, *coming) if key(view) not in there and view.source_topic in from_lake),
        ),
    )
    return replace(_tidy(plan), tables=_tables(current, wanted, plan.computed))


def _services(
    current: Plan, wanted: Plan, serving: Mapping[str, View], target: Mapping[str, View], scoring: Collection[str]
) -> tuple[list[Service], list[Service]]:
    """(services now, services that wait)."""
    present = {service.name: service for service in current.services}
    now, waiting = [], []
    for service in wanted.services:
        before = present.get(service.name)
        same_views = all(key(serving[name]) == key(target[name]) for name in service.views)
        if before is None or (service == before and same_views):
            now.append(service)
            continue
        if inputs_hash(before, serving) != inputs_hash(service, target):
            _check_model(before, service, scoring)
        elif same_views and (service.model == before.model or before.model not in scoring):
            now.append(service)
            continue
        now.append(before)
        waiting.append(service)
    return now, waiting


def _check_model(before: Service, after: Service, scoring: Collection[str]) -> None:
    if before.model == after.model and before.model in scoring:
        raise VersionError(
            "versions.model",
            f"service {after.name!r} gets other inputs, its model {after.model!r} was trained with the present ones",
            context={"before": list(before.features), "after": list(after.features)},
            hint=f'name a new model in its declare.service_tags, such as model="{_next(after.model)}": the service goes'
            f" on as it is until `appliance model train {after.name}` has made that one",
        )


def _next(model: str) -> str:
    stem, _, number = model.rpartition("_")
    return f"{stem}_{int(number) + 1}" if stem and number.isdecimal() else f"{model}_2"


def _tables(current: Plan, wanted: Plan, computed: Iterable[View]) -> tuple[CapturedTable, ...]:
    """The tables wanted, with what versions of the present plan still need of theirs."""
    read: defaultdict[str, set[str]] = defaultdict(set)
    for view in computed:
        read[view.source_topic] |= set(view.captured_columns)
    before = {table.topic: table for table in current.tables}
    merged = {}
    for table in wanted.tables:
        old = before.get(table.topic, table)
        there = {column.name for column in table.columns}
        left = [column for column in old.columns if column.name not in there and column.name in read[table.topic]]
        merged[table.topic] = replace(table, columns=(*table.columns, *left))
    for table in current.tables:
        if table.topic in read:
            merged.setdefault(table.topic, table)
    return tuple(merged.values())


@dataclass(frozen=True)
class Ready:
    """views: coming or new versions that have caught up and agree. models: services whose model knows its inputs."""

    views: frozenset[str]
    models: frozenset[str]


def switch(plan: Plan, ready: Ready, until: int) -> Plan:
    """Readers move to what is ready; the same plan if nothing is.

    A view moves together with every service that reads it, and a service with every view that it reads.
    """
    views = {view.name: view for view in plan.coming if key(view) in ready.views}
    serving = by_name(plan.views)
    services = {each.name: each for each in plan.coming_services if each.name in ready.models}
    while True:
        target = serving | views
        stuck = [
            service.name
            for service in services.values()
            if any(key(target[name]) not in ready.views for name in _begun(plan, service))
            or any(each.name in service.views and each.name not in views for each in plan.coming)
        ]
        held = [
            name for name in views if any(name in each.views and each.name not in services for each in plan.services)
        ]
        if not stuck and not held:
            break
        services = {name: each for name, each in services.items() if name not in stuck}
        views = {name: view for name, view in views.items() if name not in held}
    return _moved(plan, views, services, until) if views or services else plan


def _begun(plan: Plan, service: Service) -> list[str]:
    """The views that a service begins to read with this change."""
    return [name for name in service.views if name not in plan.service(service.name).views]


def _moved(plan: Plan, views: dict[str, View], services: Mapping[str, Service], until: int) -> Plan:
    moving = _Moving(plan, until)
    for view in views.values():
        moving.take_out(view)
    after = by_name(plan.views) | views
    now = [services.get(each.name, each) for each in plan.services]
    used = {name for service in now for name in service.views}
    gone = [name for name in plan.going if name not in used]
    moving.retire(view for view in plan.views if view.name in views or view.name in gone)
    moving.keep_services(each for each in plan.services if each.name in services)
    for name in gone:
        del after[name]
    return _tidy(
        replace(
            plan,
            views=tuple(after.values()),
            services=tuple(replace(each, definition_hash=service_hash(each, after)) for each in now),
            coming=tuple(view for view in plan.coming if view.name not in views),
            coming_services=tuple(each for each in plan.coming_services if each.name not in services),
            former=moving.former,
            former_services=moving.former_services,
            dropped=moving.dropped,
            going=tuple(name for name in plan.going if name not in gone),
            kept_until=moving.kept_until,
        )
    )


def rollback(plan: Plan, name: str | None, until: int) -> Plan:
    """Back to the former version of one view, or of every view and service that has one; what is coming is given up.

    Raises VersionError when there is none, or when a service reads what the former version does not have.
    """
    coming = [view for view in plan.coming if name in (None, view.name)]
    former = {view.name: view for view in plan.former if name in (None, view.name)}
    if not coming and not former and not (name is None and plan.former_services):
        raise VersionError(
            "versions.no_former",
            f"there is no former version of {'any view' if name is None else f'view {name!r}'}",
            hint="appliance features list",
        )
    moving = _Moving(plan, until)
    moving.drop(coming)
    if coming:  # what is being filled is given up; what is served stays
        waiting = [each for each in plan.coming_services if name is not None and name not in each.views]
        left = tuple(view for view in plan.coming if view not in coming)
        return _tidy(replace(plan, coming=left, coming_services=tuple(waiting), dropped=moving.dropped))
    for view in former.values():
        moving.take_out(view)
    views = by_name(plan.views) | former
    moving.retire(view for view in plan.views if view.name in former)
    before = {each.name: each for each in plan.former_services}
    services = {}
    for service in plan.services:
        older = before.get(service.name)
        fits = _fits(service, plan, views)
        if older is not None and _there(older, views) and (name is None or not fits):
            services[service.name] = older
        elif not fits:
            raise VersionError(
                "versions.needed",
                f"service {service.name!r} reads what the former version of {name or 'its views'} does not have",
                hint="correct the definitions instead and run `appliance features apply`",
            )
    moving.keep_services(each for each in plan.services if each.name in services)
    now = [services.get(each.name, each) for each in plan.services]
    return _tidy(
        replace(
            plan,
            views=tuple(views.values()),
            services=tuple(replace(each, definition_hash=service_hash(each, views)) for each in now),
            former=moving.former,
            former_services=moving.former_services,
            dropped=moving.dropped,
            kept_until=moving.kept_until,
        )
    )


def _fits(service: Service, plan: Plan, views: Mapping[str, View]) -> bool:
    """Whether a service's inputs mean the same with these versions of its views."""
    return _there(service, views) and inputs_hash(service, views) == inputs_hash(service, by_name(plan.views))


def _there(service: Service, views: Mapping[str, View]) -> bool:
    """Whether these versions have every input of a service."""
    there = {f"{name}:{feature.name}" for name in service.views if name in views for feature in views[name].features}
    return there | {f"request:{feature.name}" for feature in service.request_features} >= set(service.features)


def expire(plan: Plan, now: int) -> Plan:
    """Former versions and services that were kept until ``now`` are let go; the same plan if there is none."""
    over = {name for name, until in plan.kept_until.items() if until <= now}
    if not over:
        return plan
    moving = _Moving(plan, 0)
    moving.drop(view for view in plan.former if key(view) in over)
    services = tuple(each for each in plan.former_services if service_key(each.name) not in over)
    return _tidy(replace(plan, former=moving.former, dropped=moving.dropped, former_services=services))


def removed(plan: Plan, version: View) -> Plan:
    """A dropped version has left the stores."""
    return replace(plan, dropped=tuple(view for view in plan.dropped if key(view) != key(version)))


class _Moving:
    """Versions on their way between the lists of a plan."""

    def __init__(self, plan: Plan, until: int) -> None:
        self._until = until
        self._former = {key(view): view for view in plan.former}
        self._dropped = {key(view): view for view in plan.dropped}
        self._services = {each.name: each for each in plan.former_services}
        self.kept_until = dict(plan.kept_until)

    @property
    def former(self) -> tuple[View, ...]:
        return tuple(self._former.values())

    @property
    def dropped(self) -> tuple[View, ...]:
        return tuple(self._dropped.values())

    @property
    def former_services(self) -> tuple[Service, ...]:
        return tuple(self._services.values())

    def take_out(self, view: View) -> None:
        """It is wanted again. Raises VersionError while its remains are being removed."""
        if key(view) in self._dropped:
            raise VersionError(
                "versions.being_removed", f"{key(view)} is being removed from the stores", hint="try again in a minute"
            )
        self._former.pop(key(view), None)

    def retire(self, views: Iterable[View]) -> None:
        """Keep them as former versions, in place of older ones of the same views."""
        for view in views:
            self.drop([older for older in self._former.values() if older.name == view.name])
            self._former[key(view)] = view
            self.kept_until[key(view)] = self._until

    def drop(self, views: Iterable[View]) -> None:
        for view in list(views):
            self._former.pop(key(view), None)
            self._dropped[key(view)] = view

    def keep_services(self, services: Iterable[Service]) -> None:
        for service in services:
            self._services[service.name] = service
            self.kept_until[service_key(service.name)] = self._until


def _tidy(plan: Plan) -> Plan:
    """Without the times of what is no longer kept, and the filling of what is no longer computed."""
    kept = {key(view) for view in plan.former} | {service_key(each.name) for each in plan.former_services}
    computed = set(map(key, plan.computed))
    return replace(
        plan,
        kept_until={name: until for name, until in plan.kept_until.items() if name in kept},
        to_fill=tuple(version for version in plan.to_fill if version in computed),
    )
