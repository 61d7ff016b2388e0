"""The rows of a captured table exactly as they were at a position, by replaying its change table.

A row is what its last change at or before the position made it; deletes and truncates take out. Rows of a snapshot are
changes like any other (their knowledge is assumed, their position is that of the snapshot). The derived state table is
the start where all it holds lies at or before the position.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs.errors import LakeError
from stream_jobs.lake import delta, reach, schema
from stream_jobs.lake.reading import quote, scan
from stream_jobs.plan import CapturedTable, Plan

LATEST = "latest"
_POSITION = re.compile(r"[0-9a-f]{32}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Cut:
    """position: 32 hex digits. known_at: commit time (µs) there, or of the lake's newest before it; 0 if not known."""

    position: str
    known_at: int


def changes_path(context: Context, table: CapturedTable) -> Path:
    """Folder of the table's change table."""
    return context.layout.lake / context.names.lake_changes(table.source, table.table)


def captured(plan: Plan, name: str, source: str | None) -> CapturedTable:
    """The table of that name (``schema.table``, or without ``public.``). Raises UsageError if none or several fit."""
    wanted = name if "." in name else f"public.{name}"
    found = [each for each in plan.tables if each.table == wanted and source in (None, each.source)]
    if len(found) == 1:
        return found[0]
    known = ", ".join(f"{each.source}: {each.table}" for each in plan.tables)
    if found:
        raise UsageError("lake.which_source", f"{len(found)} sources have a table {wanted}", hint="add --source NAME")
    raise UsageError(
        "lake.no_such_table",
        f"{wanted} is no captured table" + (f" of source {source}" if source else ""),
        hint=f"captured are {known or 'none'}",
    )


def cut(context: Context, plan: Plan, table: CapturedTable, at: str) -> Cut:
    """The cut that ``at`` names: ``latest``, a position, or a time in ISO 8601 (UTC unless it says otherwise).

    A time means the highest position of the source's changes committed by then. Raises UsageError when it is none of
    these, and LakeError when the lake has not reached it or nothing was captured by then.
    """
    reached = reach.read(changes_path(context, table))
    if at == LATEST:
        return Cut(reached.position, reached.known_at)
    if _POSITION.fullmatch(at):
        if at > reached.position:
            raise _not_reached(table, f"position {at}", reached)
        return Cut(at, 0)
    try:
        time = datetime.fromisoformat(at)
    except ValueError as error:
        raise UsageError(
            "lake.position", f"{at!r} is no position, no time and not {LATEST!r}",
            hint="a position has 32 hex digits (0-9, a-f); a time is written 2026-11-23T16:00:00Z",
        ) from error  # fmt: skip
    known_at = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - _EPOCH) // timedelta(microseconds=1)
    if known_at > reached.known_at:
        raise _not_reached(table, f"the time {at}", reached)
    return _at_time(context, plan, table, known_at, at)


def _not_reached(table: CapturedTable, wanted: str, reached: reach.Reached) -> LakeError:
    there = f"position {reached.position}, committed {_shown(reached.known_at)}" if reached.known_at else "nothing yet"
    return LakeError(
        "lake.not_reached", f"the lake has not reached {wanted} of {table.source}: {table.table}; it has {there}",
        context={"reached": reached.position},
        hint=f"wait a few seconds, or ask for --at {LATEST}; if it stands still: appliance status writer-lake marker",
    )  # fmt: skip


def _shown(known_at: int) -> str:
    return (_EPOCH + timedelta(microseconds=known_at)).isoformat()


def _at_time(context: Context, plan: Plan, table: CapturedTable, known_at: int, at: str) -> Cut:
    """By all tables of the source: they share one order of commits."""
    parts = []
    for each in plan.tables:
        path = changes_path(context, each)
        if each.source == table.source and delta.exists(path):
            parts.append(f"SELECT position, known_at FROM {scan(path, schema.changes(each))} WHERE op <> 'r'")
    query = f"""SELECT max(position), epoch_us(max_by(known_at, position)) FROM ({" UNION ALL ".join(parts)})
                WHERE known_at <= make_timestamptz({known_at})"""
    with duckdb.connect() as connection:
        position, found = connection.execute(query).fetchall()[0] if parts else (None, None)
    if position is None:
        raise LakeError(
            "lake.before_capture", f"no change of {table.source} committed by {at} was captured as it happened",
            hint=f"what was there before is in the first snapshot, whose rows are known from their event time: "
            f"--at {LATEST}",
        )  # fmt: skip
    return Cut(position, found)


def rows(context: Context, connection: duckdb.DuckDBPyConnection, table: CapturedTable, position: str) -> str:
    """SQL text of the table's rows at the cut, in no order; columns as in ``schema.state``.

    Raises LakeError when there is no such change table.
    """
    current = context.layout.lake / context.names.lake_state(table.source, table.table)
    return live(connection, table, changes_path(context, table), position, current)


def live(
    connection: duckdb.DuckDBPyConnection, table: CapturedTable, changes: Path, position: str, state: Path | None = None
) -> str:
    """As ``rows``, of a change table and (None: without its help) a state table in these folders."""
    names = ", ".join(quote(field.name) for field in schema.state(table))
    known, start = _start(connection, table, changes, position, state)
    images = ", ".join(
        f"CASE WHEN op = 'd' THEN {quote('before_' + c.name)} ELSE {quote('after_' + c.name)} END AS {quote(c.name)}"
        for c in table.columns
    )
    keys = ", ".join(quote(key) for key in table.primary_key)
    columns = ", ".join(quote(column.name) for column in table.columns)
    base = f"UNION ALL SELECT 'c', position, known_at, assumed, -1, {columns} FROM {start}"
    return f"""(
WITH replayed AS (
  SELECT * FROM {known} WHERE position <= '{position}'
), truncated AS (
  SELECT max(position) FROM replayed WHERE op = 't'
), events AS (
  SELECT op, position, known_at, assumed, "offset", {images} FROM replayed WHERE op <> 't'
  {base if start else ""}
), again AS (
  SELECT {keys} FROM events GROUP BY ALL HAVING count(*) > 1
), last AS (
  SELECT * FROM events ANTI JOIN again USING ({keys})
  UNION ALL
  SELECT * FROM (SELECT * FROM events SEMI JOIN again USING ({keys}))
  QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY position DESC, op = 'd', "offset" DESC) = 1
)
SELECT {names} FROM last WHERE op <> 'd' AND position >= coalesce((FROM truncated), '')
)"""


def _start(
    connection: duckdb.DuckDBPyConnection, table: CapturedTable, changes: Path, position: str, state: Path | None
) -> tuple[str, str]:
    """SQL text of the changes to replay, and of the state to start from ("" for none).

    The state is opened first, so that the changes hold all that it was made of.
    """
    if state is None or not delta.exists(state):
        return scan(changes, schema.changes(table)), ""
    derived = delta.open_table(state)
    merged = delta.reached(derived)
    everything = scan(changes, schema.changes(table))
    known = " OR ".join(
        f'("partition" = {name.rpartition("/")[2]} AND "offset" <= {version})' for name, version in merged.items()
    )
    if not known:
        return everything, ""
    newest = connection.execute(f"SELECT max(position) FROM {everything} WHERE {known}").fetchall()[0][0]
    if newest is None or newest > position:
        return everything, ""
    return f"(SELECT * FROM {everything} WHERE NOT ({known}))", scan(state, schema.state(table), derived.version())
