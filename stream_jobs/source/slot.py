"""Whether what a connector has still to read is still there; if not, changes were lost and a new snapshot is needed."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from appliance.clients import connect, kafka
from appliance.parts.base import Context
from stream_jobs.source import connector, database, postgres_checks
from stream_jobs.source.record import Source

_GONE = "no longer available on the server"
"""Debezium's words when it finds, as it starts, that the place it stopped at is not in the database's log any more."""

_SLOT = b"""SELECT *, confirmed_flush_lsn - '0/0'::pg_lsn AS flushed FROM pg_replication_slots WHERE slot_name = %s"""


def lost(context: Context, source: Source) -> str | None:
    """Why the connector can't go on where it was, in words; None while it can, or has not begun.

    Raises NotReadyError when Connect does not answer, SourceError when the database does not.
    """
    name = connector.name(context, source)
    status = connect.status(context, name)
    if status is None:
        return None
    for each in (status["connector"], *status["tasks"]):
        if each["state"] == "FAILED" and _GONE in each.get("trace", ""):
            return f"the place where {name} stopped is no longer in the log of {source.address}"
    return _slot(context, source, name) if source.address.kind == "postgresql" else None


def _slot(context: Context, source: Source, name: str) -> str | None:
    """The slot is asked before the connector, which may go on meanwhile: it never seems to be behind for that."""
    slot = source.publication
    with postgres_checks.connect(context, source) as connection:
        found: dict[str, Any] | None = connection.cursor(row_factory=dict_row).execute(_SLOT, (slot,)).fetchone()
    offsets = connect.offsets(context, name)
    if not offsets:
        return None
    if found is None:
        return f"replication slot {slot} of {source.address} is not there any more"
    if found.get("wal_status") == "lost" or found["restart_lsn"] is None:
        return (
            f"replication slot {slot} of {source.address} is lost: the server kept no more than max_slot_wal_keep_size"
        )
    read = max((_lsn(each) for each in offsets), default=0)
    if found["flushed"] is not None and 0 < read < found["flushed"]:
        return (
            f"replication slot {slot} of {source.address} begins at {int(found['flushed'])}, "
            f"after {read}, up to which {name} has read: somebody made it anew or moved it"
        )
    return None


def _lsn(offset: dict[str, Any]) -> int:
    return max((int(offset[key]) for key in ("lsn", "lsn_proc", "lsn_commit") if offset.get(key)), default=0)


def release(context: Context, source: Source) -> None:
    """Let go of what the connector, which is gone, held in the database. Raises PartError if somebody still uses it."""

    def free() -> bool:
        try:
            database.of(source).release(context, source)
        except psycopg.errors.ObjectInUse:
            return False
        return True

    kafka.until(free, f"slot {source.publication} to be free", 60)
