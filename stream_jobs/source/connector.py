"""The Debezium connector of a source, and the topics that must be there before it writes."""

from __future__ import annotations

from appliance.clients import connect, kafka
from appliance.parts.base import Context
from stream_jobs.errors import SourceError
from stream_jobs.source.record import SCHEMA, Source

OWN_TABLES = (f"{SCHEMA}.heartbeat", f"{SCHEMA}.signal")


def name(context: Context, source: Source) -> str:
    return f"{context.installation.tenant}.{source.name}"


def ensure_topics(context: Context, source: Source) -> list[str]:
    """Create the topics of every captured table and of the heartbeat; returns those created."""
    names = context.names
    own = {names.cdc(source.name, table): {"partitions": "1"} for table in OWN_TABLES}
    tables: dict[str, dict[str, str]] = {names.cdc(source.name, table.name): {} for table in source.tables}
    return kafka.ensure_topics(context, {**tables, **own, names.heartbeat(source.name): {"partitions": "1"}})


def config(context: Context, source: Source) -> dict[str, str]:
    """The connector's configuration; the password is a reference that only Connect's worker resolves."""
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
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": str(settings.kafka.partitions),
    }


def _pattern(table: str) -> str:
    """``schema.table`` as the regular expression that Debezium wants."""
    return table.replace(".", "\\.")


def start(context: Context, source: Source) -> None:
    """Create topics and connector, or bring the connector's configuration up to date."""
    ensure_topics(context, source)
    connect.put(context, name(context, source), config(context, source))


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
