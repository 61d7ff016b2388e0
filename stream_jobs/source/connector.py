"""The Debezium connector of a source, and the topics that must be there before it writes."""

from __future__ import annotations

from appliance import limits
from appliance.clients import connect, kafka
from appliance.parts.base import Context
from stream_jobs.source import database
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
    said = {names.heartbeat(source.name): {"partitions": "1"}, names.notifications(source.name): {"partitions": "1"}}
    return kafka.ensure_topics(context, {**tables, **own, **said, **database.of(source).topics(context, source)})


def config(context: Context, source: Source, base: str) -> dict[str, str]:
    """The connector's configuration; the password is a reference that only Connect's worker resolves.

    base: of its positions, written into every record.
    """
    names, settings = context.names, context.settings
    tables = [*(table.name for table in source.tables), *OWN_TABLES]
    return {
        "tasks.max": "1",
        "topic.prefix": names.cdc_prefix(source.name),
        "snapshot.mode": "initial",
        "snapshot.fetch.size": "10240",
        "max.batch.size": "2048",  # a Kafka transaction each: larger ones run into its timeout on a busy machine
        "max.queue.size": "16384",
        "poll.interval.ms": "10",
        "heartbeat.interval.ms": str(settings.cdc.heartbeat_interval_ms),
        "topic.heartbeat.prefix": names.heartbeat_prefix(),
        "signal.enabled.channels": "source",
        "signal.data.collection": OWN_TABLES[1],
        "notification.enabled.channels": "sink",
        "notification.sink.topic.name": names.notifications(source.name),
        "incremental.snapshot.chunk.size": "4096",
        "exactly.once.support": "required",
        "decimal.handling.mode": "string",
        "time.precision.mode": "microseconds",
        "binary.handling.mode": "base64",
        f"column.truncate.to.{limits.TEXT_CHARS}.chars": ".*",
        "skipped.operations": "none",
        "tombstones.on.delete": "false",
        "topic.creation.default.replication.factor": "1",
        "topic.creation.default.partitions": str(settings.kafka.partitions),
        "transforms": "base",
        "transforms.base.type": "org.apache.kafka.connect.transforms.InsertField$Value",
        "transforms.base.static.field": "appliance_base",
        _BASE: base,
        **database.of(source).config(context, source, tables),
    }


def start(context: Context, source: Source) -> None:
    """Create topics and connector, or bring the connector's configuration up to date.

    A connector that is there keeps its base. One that must begin anew (its slot was lost) has to be removed first:
    the changes of its new slot sort after all that came through the old one only above a new base.
    """
    connector = name(context, source)
    known = connect.config(context, connector) or {}
    base = known.get(_BASE) or str(database.of(source).base(context, source))
    ensure_topics(context, source)
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
