"""Another snapshot of one table while its stream goes on, asked for by a row in the connector's signal table.

Steps: signal, snapshot (until the connector says that it is complete), hold (until the markers stand still), compare.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable

import duckdb
import msgspec
import pymysql
from confluent_kafka import TopicPartition
from psycopg import sql

from appliance import users
from appliance.clients import kafka
from appliance.clock import wall_us
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.errors import SourceError
from stream_jobs.lake import reach, schema, state_at
from stream_jobs.lake.reading import scan
from stream_jobs.mending import mends
from stream_jobs.mending.mends import Mend
from stream_jobs.mending.work import LOGGER, Work, done
from stream_jobs.plan import CapturedTable
from stream_jobs.source import binlog_checks, connector, postgres_checks, record
from stream_jobs.source.record import SCHEMA, Source

_WHOLE = ("SUCCEEDED", "EMPTY")
"""What the connector says of a table that it has read to its end."""


class _Notification(msgspec.Struct, rename={"kind": "type", "data": "additional_data"}):
    """Debezium's word on a snapshot. id: of the signal that asked for it.

    kind: STARTED, IN_PROGRESS, TABLE_SCAN_COMPLETED (with its status), COMPLETED, ABORTED and others.
    """

    id: str
    kind: str
    data: dict[str, str] = {}


def begin(context: Context, source: Source, table: CapturedTable, offset: int, *, signalled: bool) -> Mend:
    """Ask for it. offset: end of the notifications' topic. signalled: somebody else writes the row of ``statement``.

    Raises SourceError when the lake has nothing of the table yet, or the source is being mended already.
    """
    for other in mends.unfinished(context):
        if other.source == source.name and other.kind != "truncate":
            raise SourceError(
                "source.mending", f"source {source.name} is being mended already: {other.reason}",
                hint="appliance source mends",
            )  # fmt: skip
    reached = reach.read(state_at.changes_path(context, table))
    if not reached.known_at:
        raise SourceError(
            "source.no_position", f"the lake has no position of {source.name}: {table.table} yet",
            hint="appliance status writer-lake marker",
        )  # fmt: skip
    mend = Mend(
        f"resnapshot-{uuid.uuid4().hex[:16]}", source.name, "resnapshot", f"another snapshot of {table.table}",
        wall_us(), (table.table,), "snapshot" if signalled else "signal", holds=False,
        position=reached.position, known_at=reached.known_at, offset=offset,
    )  # fmt: skip
    mends.write(context, mend)
    return mend


def statement(mend: Mend, source: Source) -> str:
    """The SQL that asks the connector; a second time it does nothing."""
    data = json.dumps({"data-collections": list(mend.tables), "type": "incremental"})
    row = f"(id, type, data) VALUES ('{mend.id}', 'execute-snapshot', {{}})"
    if source.address.kind == "postgresql":
        template = sql.SQL("INSERT INTO {} " + row + " ON CONFLICT (id) DO NOTHING")
        return template.format(sql.Identifier(SCHEMA, "signal"), sql.Literal(data)).as_string(None)
    return f"INSERT IGNORE INTO {SCHEMA}.signal " + row.format(pymysql.converters.escape_string(data).join("''"))


def signal(work: Work, mend: Mend) -> None:
    source = record.registered(work.context, mend.source)
    ask = statement(mend, source)
    if source.address.kind == "postgresql":
        with postgres_checks.connect(work.context, source) as connection:
            connection.execute(ask.encode())
    else:
        with binlog_checks.connect(work.context, source) as other, other.cursor() as cursor:
            cursor.execute(ask)
    mends.write(work.context, msgspec.structs.replace(mend, step="snapshot"))


def snapshot(work: Work, mend: Mend) -> None:
    """Wait until the connector has read the whole table, and the lake has reached what it read."""
    said = [
        each
        for value in work.read(work.context.names.notifications(mend.source), mend.offset)
        if (each := msgspec.json.decode(value, type=_Notification)).id == mend.id
    ]
    scanned = [each.data.get("status", "") for each in said if each.kind == "TABLE_SCAN_COMPLETED"]
    wrong = [status for status in scanned if status not in _WHOLE] + [e.kind for e in said if e.kind == "ABORTED"]
    if wrong:
        LOGGER.error("the snapshot of %s failed: %s", mend.tables, wrong[0])
        done(work, mend, {}, note=f"failed: the connector says {wrong[0]}; nothing was changed")
        return
    if not any(each.kind == "COMPLETED" for each in said):
        note = _words(said[-1]) if said else ""
        if note != mend.note:
            mends.write(work.context, msgspec.structs.replace(mend, note=note))
        return
    if not scanned:
        done(work, mend, {}, note="failed: the connector does not know the table; nothing was changed")
        return
    tables = work.tables(mend)
    if work.in_lake(mend, tables) and all(_reached(work.context, table) for table in tables):
        mends.write(work.context, msgspec.structs.replace(mend, step="hold", note="snapshot read", holds=True))


def hold(work: Work, mend: Mend) -> None:
    """Wait for the marker's word that it claims nothing more."""
    held = mends.held(work.context, mend.source)
    if held is not None and mend.id in held.mends:
        mends.write(work.context, msgspec.structs.replace(mend, step="compare"))


def _words(said: _Notification) -> str:
    rows, key = said.data.get("total_rows_scanned"), said.data.get("last_processed_key")
    text = said.kind.lower().replace("_", " ")
    if rows is not None:
        return f"{text}, {rows} rows"
    return text if key is None else f"{text}, up to key {key} of {said.data.get('maximum_key')}"


def _reached(context: Context, table: CapturedTable) -> bool:
    """Whether the markers have passed every row of a snapshot that the lake has."""
    path = state_at.changes_path(context, table)
    with duckdb.connect() as connection:
        query = f"SELECT max(position) FROM {scan(path, schema.changes(table))} WHERE op = 'r'"
        newest: str | None = connection.execute(query).fetchall()[0][0]
    return newest is None or newest <= reach.read(path).position


def captured(context: Context, source: Source, name: str) -> CapturedTable:
    """The table to read again. Raises UsageError when the source does not capture it."""
    return state_at.captured(plans.read(context.layout.plan_file), name, source.name)


def wait(context: Context, mend_id: str, tell: Callable[[str], None], seconds: float) -> Mend:
    """Until the mend is finished; ``tell`` is given each new word on it. Raises SourceError when it takes too long."""
    limit = time.monotonic() + seconds
    last = ""
    while True:
        for mend in mends.finished(context):
            if mend.id == mend_id:
                return mend
        for mend in mends.unfinished(context):
            if mend.id == mend_id and (now := f"{mend.step} {mend.note}".strip()) != last:
                last = now
                tell(now)
        if time.monotonic() > limit:
            raise SourceError(
                "source.resnapshot", f"{mend_id} is not finished after {seconds:.0f} s (last: {last}); it goes on",
                hint="appliance source mends; appliance logs mender",
            )  # fmt: skip
        time.sleep(0.3)


def notifications_end(context: Context, source: Source) -> int:
    """Offset behind the connector's last notification. Raises KafkaException, ApplianceError."""
    topic = context.names.notifications(source.name)
    if topic in connector.ensure_topics(context, source):
        return 0
    reader = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.{users.ADMINISTRATOR}.signal")
    try:
        return reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
    finally:
        reader.close()
