"""Stream feature views → views of the plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

from feast import Entity, StreamFeatureView
from feast.aggregation import Aggregation

from appliance.names import Names
from stream_jobs.compiler import sql
from stream_jobs.compiler.definition import Versions, definition_hash
from stream_jobs.compiler.tables import Table
from stream_jobs.errors import CompileError
from stream_jobs.expressions.node import Node
from stream_jobs.expressions.parsing import canonical, parse
from stream_jobs.plan import Column, Expression, Function, View, WindowFeature

_NUMBERS = ("int64", "decimal", "float64")
_NUMERIC_ONLY = ("sum", "mean", "std")
_ANY_ROW = "*"


def view(
    declared: StreamFeatureView,
    entities: Mapping[str, Entity],
    table: Table,
    names: Names,
    versions: Versions,
    kafka: sql.KafkaAddress,
) -> View:
    """Raises CompileError where the view cannot be computed exactly."""
    _check_exact(declared, table)
    join_keys = tuple(entities[name].join_key for name in declared.entities)
    for key in join_keys:
        table.column(key, f"view {declared.name!r} as a join key")
    derived, rows = transformation(declared, table)
    seen = replace(table, columns=(*table.columns, *(node.result(name) for name, (_, node) in derived.items())))
    features = tuple(_feature(declared, aggregation, seen) for aggregation in declared.aggregations)
    _check_names(declared, features)
    used = {feature.column for feature in features} | {feature.where for feature in features}
    if unused := sorted(derived.keys() - used):
        raise CompileError("compile.unused", f"view {declared.name!r}: no feature uses its columns {unused}")
    columns = tuple(column for column in seen.columns if column.name in used)
    expressions = [one for one, _ in derived.values()]
    nodes = [node for _, node in (*derived.values(), *([rows] if rows else []))]
    read = {name for node in nodes for name in node.columns()}
    reads = tuple(column for column in table.columns if column.name in read)
    digest = definition_hash(
        _canonical(declared, table, join_keys, columns, features)
        | ({"derived": {one.name: one.meaning for one in expressions}} if derived else {})
        | ({"rows": rows[0].meaning} if rows else {})
    )
    version = versions.version(declared.name, digest)
    edits_topic = names.edits(declared.name, version)
    return View(
        name=declared.name,
        version=version,
        source=table.source,
        table=table.table,
        source_topic=table.topic,
        edits_topic=edits_topic,
        entity=",".join(declared.entities),
        join_keys=join_keys,
        row_id=table.key,
        event_time=table.event_time,
        columns=columns,
        features=features,
        sql=sql.script(
            sql.ViewShape(
                group=f"{names.tenant}.flink.{declared.name}.v{version}",
                source_topic=table.topic,
                edits_topic=edits_topic,
                dead_letter_topic=names.dead_letters("flink"),
                join_keys=join_keys,
                row_id=table.key,
                event_time=table.event_time,
                columns=columns,
                declared=table.declared,
                derived={name: node for name, (_, node) in derived.items()},
                rows=rows[1] if rows else None,
                reads=reads,
            ),
            kafka,
        ),
        definition_hash=digest,
        ttl_ms=round(declared.ttl / timedelta(milliseconds=1)) if declared.ttl else None,
        derived=tuple(expressions),
        rows=rows[0] if rows else None,
        reads=reads,
    )


def transformation(
    declared: StreamFeatureView, table: Table
) -> tuple[dict[str, tuple[Expression, Node]], tuple[Expression, Node] | None]:
    """(derived column → expression, the filter of rows). Raises CompileError with place and reason."""
    columns = {column.name: column for column in table.columns}
    derived = {}
    for name, text in json.loads(declared.tags.get("appliance.columns", "{}")).items():
        where = f"view {declared.name!r}, column {name!r}"
        if name in columns:
            raise CompileError("compile.column_name", f"{where}: {table.table} has a column of that name")
        node = parse(text, columns, where)
        derived[name] = (Expression(name, text, canonical(node)), node)
    text = declared.tags.get("appliance.rows", "")
    if not text:
        return derived, None
    where = f"view {declared.name!r}, rows"
    node = parse(text, columns, where)
    if node.type != "bool":
        raise CompileError("compile.rows", f"{where}: {text!r} is {node.type}, expected a condition")
    return derived, (Expression("", text, canonical(node)), node)


def _canonical(
    declared: StreamFeatureView,
    table: Table,
    join_keys: tuple[str, ...],
    columns: tuple[Column, ...],
    features: tuple[WindowFeature, ...],
) -> dict[str, Any]:
    return {
        "view": declared.name,
        "source": table.source,
        "table": table.table,
        "join_keys": join_keys,
        "row_id": table.key,
        "event_time": [table.event_time, table.declared[table.event_time], table.time_zone],
        "columns": [[c.name, table.declared.get(c.name, c.type), c.scale] for c in columns],
        "features": features,
    }


def _check_exact(declared: StreamFeatureView, table: Table) -> None:
    def refuse(code: str, message: str, hint: str) -> CompileError:
        return CompileError(f"compile.{code}", f"view {declared.name!r} {message}", hint=hint)

    if not declared.aggregations:
        raise refuse("no_aggregation", "has no aggregation", "add aggregations=[…]")
    if not declared.entities:
        raise refuse("no_entity", "has no entity", "add entities=[…]")
    if declared.udf is not None or declared.feature_transformation is not None:
        raise refuse(
            "udf", "has a Python function, which the stream does not run", "declare.view_tags(columns={…}) has SQL"
        )
    if declared.enable_tiling:
        raise refuse("tiling", "asks for tiles (coarse edges), which are not built", "set enable_tiling=False")
    if not table.event_time:
        raise refuse("no_event_time", f"stands on {table.table}, which has no event time", "give its source one")
    if declared.timestamp_field != table.event_time:
        raise refuse(
            "event_time",
            f"has timestamp_field {declared.timestamp_field!r}, its source has {table.event_time!r}",
            "give both the same column",
        )


def _feature(declared: StreamFeatureView, aggregation: Aggregation, table: Table) -> WindowFeature:
    name = aggregation.resolved_name(aggregation.time_window)
    where = f"view {declared.name!r}, feature {name!r}"
    if aggregation.function not in get_args(Function):
        raise CompileError(
            "compile.function", f"{where}: function {aggregation.function!r} is none of {list(get_args(Function))}"
        )
    function: Function = aggregation.function  # type: ignore[assignment]  # checked against Function above
    window = aggregation.time_window
    if window is None or window <= timedelta(0):
        raise CompileError("compile.window", f"{where} has no time window", hint="add time_window=timedelta(…)")
    if aggregation.slide_interval not in (None, window):
        raise CompileError(
            "compile.slide",
            f"{where} slides by {aggregation.slide_interval}: windows here end at the request's own time",
            hint="leave slide_interval out",
        )
    column = None if aggregation.column in ("", _ANY_ROW) else aggregation.column
    if column is None and function != "count":
        raise CompileError("compile.column", f"{where}: {function} needs a column", hint="add column=…")
    if column is not None:
        kind = table.column(column, where).type
        if function in _NUMERIC_ONLY and kind not in _NUMBERS:
            raise CompileError("compile.column_type", f"{where}: {function} of a {kind}, expected one of {_NUMBERS}")
    condition = json.loads(declared.tags.get("appliance.where", "{}")).get(name)
    if condition is not None and table.column(condition, where).type != "bool":
        raise CompileError("compile.where", f"{where}: where-column {condition!r} is no bool")
    return WindowFeature(
        name=name,
        function=function,
        column=column,
        window_us=round(window / timedelta(microseconds=1)),
        where=condition,
        n=_last_n(declared, name, function, where),
        default=json.loads(declared.tags.get("appliance.defaults", "{}")).get(name),
    )


def _last_n(declared: StreamFeatureView, name: str, function: Function, where: str) -> int:
    n = json.loads(declared.tags.get("appliance.last_n", "{}")).get(name)
    if (function == "last_n") != (n is not None) or (n is not None and n < 1):
        raise CompileError(
            "compile.last_n", f"{where}: function {function} with last_n={n}, expected function last_n with last_n ≥ 1",
            hint="tags=declare.view_tags(last_n={feature: how many})",
        )  # fmt: skip
    return n or 1


def _check_names(declared: StreamFeatureView, features: tuple[WindowFeature, ...]) -> None:
    computed = [feature.name for feature in features]
    registered = [field.name for field in declared.features]
    if sorted(computed) != sorted(registered):
        raise CompileError(
            "compile.schema",
            f"view {declared.name!r}: its schema says {sorted(registered)}, its aggregations {sorted(computed)}",
            hint="give every aggregation a field of the same name in schema=[…], and the join keys",
        )
    for tag in ("appliance.defaults", "appliance.where", "appliance.last_n"):
        unknown = sorted(set(json.loads(declared.tags.get(tag, "{}"))) - set(computed))
        if unknown:
            raise CompileError("compile.tag", f"view {declared.name!r}: {tag} names {unknown}, which it does not have")
