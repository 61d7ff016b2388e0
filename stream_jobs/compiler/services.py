"""Feature services → services of the plan."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from feast import FeatureService, OnDemandFeatureView

from stream_jobs.compiler.definition import service_hash
from stream_jobs.compiler.tables import Table
from stream_jobs.errors import CompileError
from stream_jobs.offline.frame import RESERVED
from stream_jobs.plan import Policy, RequestFeature, Service, View

_REQUEST = "request"


def service(
    declared: FeatureService,
    tables: Mapping[str, Table],
    views: Mapping[str, View],
    request_views: Mapping[str, OnDemandFeatureView],
) -> Service:
    """Raises CompileError when the service names what is not there."""
    where = f"service {declared.name!r}"
    for tag in ("events", "row", "model", "policy"):
        if not declared.tags.get(f"appliance.{tag}"):
            raise CompileError(
                "compile.service_tag",
                f"{where} has no tag appliance.{tag}",
                hint="use feature_repo.declare.service_tags",
            )
    events = tables.get(declared.tags["appliance.events"])
    if events is None:
        raise CompileError("compile.no_table", f"{where}: events come from an unknown source", hint=f"{sorted(tables)}")
    row = tuple(events.column(name, where) for name in json.loads(declared.tags["appliance.row"]))
    if reserved := sorted({column.name for column in row} & RESERVED):
        raise CompileError(
            "compile.reserved",
            f"{where}: columns {reserved} of the row have names that mean something else where history is asked",
            hint="rename them in the source, or leave them out of row=(…) in declare.service_tags",
        )
    used, inputs, request = _inputs(declared, where, views, request_views)
    row_views = tuple(view for view in used if (views[view].source, views[view].table) == (events.source, events.table))
    given = {column.name for column in row}
    for view in used:
        _check_keys(where, views[view], given, in_row=view in row_views)
    policy = _policy(declared.tags["appliance.policy"], where)
    for function in (policy.explain, *(feature.function for feature in request)):
        _load(function, where)
    made = Service(
        name=declared.name,
        source=events.source,
        event_table=events.table,
        event_topic=events.topic,
        event_key=events.key,
        event_time=events.event_time,
        row=row,
        views=used,
        row_views=row_views,
        request_features=request,
        features=inputs,
        model=declared.tags["appliance.model"],
        policy=policy,
        definition_hash="",
    )
    return msgspec.structs.replace(made, definition_hash=service_hash(made, views))


def _inputs(
    declared: FeatureService,
    where: str,
    views: Mapping[str, View],
    request_views: Mapping[str, OnDemandFeatureView],
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[RequestFeature, ...]]:
    """(views used, model inputs in order, request features)."""
    used: list[str] = []
    inputs: list[str] = []
    request: list[RequestFeature] = []
    for projection in declared.feature_view_projections:
        names = [feature.name for feature in projection.features]
        if projection.name in views:
            used.append(projection.name)
            inputs.extend(f"{projection.name}:{name}" for name in names)
        elif projection.name in request_views:
            functions = json.loads(request_views[projection.name].tags.get("appliance.functions", "{}"))
            if missing := sorted(set(names) - set(functions)):
                raise CompileError(
                    "compile.no_function",
                    f"{where}: features {missing} of {projection.name!r} name no function",
                    hint="tags=declare.request_tags({feature: 'module:name'})",
                )
            request.extend(RequestFeature(name, functions[name]) for name in names)
            inputs.extend(f"{_REQUEST}:{name}" for name in names)
        else:
            raise CompileError("compile.no_view", f"{where} uses {projection.name!r}, which the scenario does not have")
    return tuple(used), tuple(inputs), tuple(request)


def _check_keys(where: str, view: View, given: set[str], *, in_row: bool) -> None:
    wanted: Sequence[str] = view.join_keys
    if in_row:
        wanted = view.captured_columns
    if missing := sorted(set(wanted) - given):
        raise CompileError(
            "compile.row",
            f"{where}: the row has no {missing}, which view {view.name!r} needs",
            hint="add them to row=(…) in declare.service_tags",
        )


def _policy(name: str, where: str) -> Policy:
    try:
        return msgspec.convert(_load(name, where), Policy)
    except msgspec.ValidationError as error:
        raise CompileError("compile.policy", f"{where}: {name} is no policy: {error}") from error


def _load(name: str, where: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise CompileError(
            "compile.no_function", f"{where}: {name!r} cannot be loaded: {error}", hint='write it as "module:name"'
        ) from error
