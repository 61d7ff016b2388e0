"""A source whose log of changes was lost: a new snapshot of all its tables, and deletes for what it does not show.

Steps: reset (connector and slot are made anew), snapshot (until the connector streams), compare.
"""

from __future__ import annotations

import time
import uuid

import msgspec

from appliance import notices
from appliance import position as positions
from appliance.clock import wall_us
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.records import Change
from stream_jobs.lake import state_at
from stream_jobs.mending import compare, mends
from stream_jobs.mending.mends import Mend
from stream_jobs.mending.work import LOGGER, Work, done
from stream_jobs.source import connector, record, slot
from stream_jobs.source.record import Source

_AGAIN_SECONDS = 30
"""How long a connector may have failed, or a snapshot have been begun twice, before all is made anew."""


def look(context: Context, failing: dict[str, float]) -> None:
    """Find the sources whose log was lost; each becomes a mend, which holds its markers from now on.

    failing: source → monotonic time since which it looks lost. Only what looks so twice, some seconds apart, is.
    """
    mended = {mend.source for mend in mends.unfinished(context) if mend.kind == "lost"}
    for source in record.everyone(context):
        if source.name in mended:
            continue
        try:
            reason = slot.lost(context, source)
        except ApplianceError as error:
            LOGGER.info("cannot look at source %s now: %s", source.name, error.message)
            continue
        if reason is None:
            failing.pop(source.name, None)
        elif time.monotonic() - failing.setdefault(source.name, time.monotonic()) > 2.0:
            del failing[source.name]
            begin(context, source, reason)


def begin(context: Context, source: Source, reason: str) -> None:
    LOGGER.error("changes of %s are lost; a new snapshot is taken: %s", source.name, reason)
    tables = tuple(table.name for table in source.tables)
    notices.post(
        context.layout, _notice(source.name),
        f"Changes of source {source.name} were lost ({reason}); a new snapshot heals it, its features stand still",
        "appliance source mends; appliance logs mender",
    )  # fmt: skip
    name = f"lost-{source.name}-{uuid.uuid4().hex[:12]}"
    mends.write(context, Mend(name, source.name, "lost", reason, wall_us(), tables, "reset", holds=True))


def _notice(source: str) -> str:
    return f"source-lost-{source}"


def reset(work: Work, mend: Mend) -> None:
    """Take connector and slot away and start anew: it takes a snapshot of everything.

    The slot must go even if it is good: only a snapshot taken while a slot is made misses nothing between the two.
    """
    context, source = work.context, record.registered(work.context, mend.source)
    for other in mends.unfinished(context):
        if other.kind == "resnapshot" and other.source == mend.source:
            done(work, other, {}, note="not needed: all tables of the source are read anew")
    connector.remove(context, source)
    slot.release(context, source)
    beat = context.names.cdc(source.name, connector.OWN_TABLES[0])
    begun = msgspec.structs.replace(mend, offset=work.end_of(beat))
    mends.write(context, begun)
    connector.start(context, source)
    mends.write(context, msgspec.structs.replace(begun, step="snapshot"))
    LOGGER.info("snapshot begun", extra={"source": source.name})


def snapshot(work: Work, mend: Mend, failing: dict[str, float]) -> None:
    """Wait until the connector streams: then every row of the snapshot stands in the log, at one position."""
    source = record.registered(work.context, mend.source)
    found: set[tuple[str, int]] = set()
    streams = False
    for value in work.read(work.context.names.cdc(source.name, connector.OWN_TABLES[0]), mend.offset):
        change = msgspec.json.decode(value, type=Change)
        if change.op == "r":
            found.add((positions.of(change.source, change.appliance_base), change.source.ts_us))
        streams = streams or change.op == "u"
    reason = connector.failure(work.context, source) if not streams else None
    if len({position for position, _ in found}) > 1 or (streams and not found):
        reason = "the snapshot was begun a second time, with the slot of the first"
    if reason is None:
        failing.pop(mend.id, None)
        if streams:
            position, known_at = max(found)
            compared = msgspec.structs.replace(mend, step="compare", position=position, known_at=known_at)
            mends.write(work.context, compared)
        return
    if time.monotonic() - failing.setdefault(mend.id, time.monotonic()) > _AGAIN_SECONDS:
        del failing[mend.id]
        LOGGER.error("the snapshot is taken again: %s", reason, extra={"source": mend.source})
        mends.write(work.context, msgspec.structs.replace(mend, step="reset"))


def compare_all(work: Work, mend: Mend) -> None:
    """Deletes at the snapshot's position for all that still counted below it and is not in it."""
    tables = work.tables(mend)
    if not work.in_lake(mend, tables):
        return
    written = {}
    for table in tables:
        changes = state_at.changes_path(work.context, table)
        expected = compare.expected_in_snapshot(table, changes, mend.position)
        written[table.table] = work.take_out(mend, table, mend.position, mend.known_at, expected)
    done(work, mend, written)
    notices.take_back(work.context.layout, _notice(mend.source))
