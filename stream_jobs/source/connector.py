"""The Debezium connector of a source, and the topics that must be there before it writes."""

from __future__ import annotations

from appliance.clients import connect, kafka
from appliance.parts.base import Context
from stream_jobs.errors import SourceError
from stream_jobs.source import postgres_checks
from stream_jobs.source.record import SCHEMA, Source

_BASE = "transforms.base.static.value"
OWN_TABLES = (f"{SCHEMA}.heartbeat", f"{SCHEMA}.signal")


def name(context: Context, source: Source) -> str:
    return f"{context.installation.tenant}.{source.name}"


def ensure_topics(context: Context, source: Source) -> list[str]:
    """Create the topics of every captured table and of the heartbeat; returns those created."""
    names = context.names
    own = {names.cdc(source.name, table): {"partitions": "1"} for table in OWN_TABLES}
    tables: dict[str, dict[str, str]] = {names.cdc(source.name, table.name): {} for table in source.tables}
    return kafka.ensure_topics(context, {**tables, **own, names.heartbeat(source.name): {"partitions": "1"}})


def config(context: Context, source: Source, base: int) -> dict[str, str]:
    """The connector's configuration; the password is a reference that only Connect's worker resolves.

    base: an LSN read before the connector's slot is made (``appliance.position``).
    """
    if source.address.kind != "postgresql":
        raise SourceError("source.kind", f"no connector is built for {source.address.kind} yet")
    address, names, settings = source.address, context.names, context.settings
    tables = [*(table.name for table in source.tables), *OWN_TABLES]
    return {
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": address.host,
        "database.port": str(address.port),
        "database.dbname": address.database,
        "database.user": address.user,
        "database.password": connect.secret(context, source.secret),
        "database.sslmode": address.ssl_mode or "prefer",
        "topic.prefix": names.cdc_prefix(source.name),
        "plugin.name": "pgoutput",
        "slot.name": source.publication,
        "publication.name": source.publication,
        "publication.autocreate.mode": "disabled",
        "table.include.list": ",".join(_pattern(table) for table in tables),
        "snapshot.mode": "initial",
        "snapshot.fetch.size": "10240",
        "max.batch.size": "2048",  # a Kafka transaction each: larger ones run into its timeout on a busy machine
        "max.queue.size": "16384",
        "poll.interval.ms": "10",
        "heartbeat.interval.ms": str(settings.cdc.heartbeat_interval_ms),
        "heartbeat.action.query": f"UPDATE {OWN_TABLES[0]} SET at = now() WHERE id = 1",
        "topic.heartbeat.prefix": names.heartbeat_prefix(),
        "signal.enabled.channels": "source",
        "signal.data.collection": OWN_TABLES[1],
        "incremental.snapshot.chunk.size": "4096",
        "exactly.once.support": "required",
        "decimal.handling.mode": "string",
        "time.precision.mode": "adaptive_time_microseconds",
        "binary.handling.mode": "base64",
        "skipped.operations": "none",
        "tombstones.on.delete": "false",
        "transforms": "base",
        "transforms.base.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        "transforms.base.static.field": "appliance_base",
        _BASE: str(base),
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": str(settings.kafka.partitions),
    }


def _pattern(table: str) -> str:
    """``schema.table`` as the regular expression that Debezium wants."""
    return table.replace(".", "\\.")


def start(context: Context, source: Source) -> None:
    """Create topics and connector, or bring the connector's configuration up to date.

    A connector that is there keeps its base. One that must begin anew (its slot was lost) has to be removed first:
    the changes of its new slot sort after all that came through the old one only above a new base.
    """
    ensure_topics(context, source)
    connector = name(context, source)
    known = connect.config(context, connector) or {}
    base = int(known[_BASE]) if _BASE in known else postgres_checks.now(context, source)
    connect.put(context, connector, config(context, source, base))


def remove(context: Context, source: Source) -> None:
    """Stop the connector, forget how far it has read, take it away."""
    connector = name(context, source)
    if connect.status(context, connector) is None:
        return
    connect.stop(context, connector)
    _until_stopped(context, connector)
    connect.delete_offsets(context, connector)
    connect.delete(context, connector)


def _until_stopped(context: Context, connector: str) -> None:
    def stopped() -> bool:
        state = connect.status(context, connector)
        return state is None or (state["connector"]["state"] == "STOPPED" and not state["tasks"])

    kafka.until(stopped, f"connector {connector} to stop", 60)


def failure(context: Context, source: Source) -> str | None:
    """Why the connector or its task has failed, None while it works."""
    state = connect.status(context, name(context, source))
    if state is None:
        return "there is no such connector"
    for each in (state["connector"], *state["tasks"]):
        if each["state"] == "FAILED":
            return str(each.get("trace", "no reason given")).splitlines()[0][:500]
    return None


def running(context: Context, source: Source) -> bool:
    """Whether connector and task say that they run."""
    state = connect.status(context, name(context, source))
    return bool(
        state and state["tasks"] and all(each["state"] == "RUNNING" for each in (state["connector"], *state["tasks"]))
    )
