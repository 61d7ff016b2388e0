"""A scenario's Feast objects → a plan."""

from __future__ import annotations

from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs.compiler import objects, services, sql, tables, views
from stream_jobs.compiler.definition import Versions
from stream_jobs.errors import CompileError
from stream_jobs.plan import Plan


def compiled(context: Context, versions: Versions) -> Plan:
    """The plan of the installed scenario. ``versions`` learns new definitions and is not saved here.

    Raises CompileError for the first thing that cannot be computed exactly.
    """
    scenario = context.installation.scenario
    found = objects.collect(scenario)
    captured = {name: tables.table(source, context.names) for name, source in found.sources.items()}
    kafka = sql.KafkaAddress(f"127.0.0.1:{context.port(Port.KAFKA)}", context.settings.kafka.partitions)
    compiled_views = {}
    for name, declared in found.views.items():
        source = declared.stream_source
        if source is None or source.name not in captured:
            raise CompileError(
                "compile.no_source", f"view {name!r} has no captured table as its source",
                hint="source=declare.captured(…), as a name of the module",
            )  # fmt: skip
        compiled_views[name] = views.view(
            declared, found.entities, captured[source.name], context.names, versions, kafka
        )
    windowed = {(view.source, view.table) for view in compiled_views.values()}
    return Plan(
        scenario=scenario,
        tables=tuple(
            table.captured(full_identity=(table.source, table.table) in windowed) for table in captured.values()
        ),
        views=tuple(compiled_views.values()),
        services=tuple(
            services.service(declared, captured, compiled_views, found.request_views)
            for declared in found.services.values()
        ),
    )
