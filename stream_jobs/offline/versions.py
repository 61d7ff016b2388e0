"""Row versions: each state that a row of a captured table had, and the positions from which and until which it had it.

A row's state at a cut is what its last change at or before the cut says: an insert, update or snapshot row gives it
values, a delete or truncate takes it out. So each change closes the version before it, and a change delivered twice
makes a version that is closed where it begins. At one position an insert stands after a delete.
"""

from __future__ import annotations

from dataclasses import dataclass

from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake.reading import quote
from stream_jobs.plan import CapturedTable, Column, View


@dataclass(frozen=True)
class Span:
    """Event times that questions can reach: after ``after_us``, up to ``until_us`` (µs)."""

    after_us: int
    until_us: int


def captured_sql(column: Column) -> str:
    """A column of the view as the change table has it, after the change."""
    return quote(f"after_{column.name}")


def column_sql(column: Column, expression: str) -> str:
    """A captured column as the window SQL wants it: decimals scaled to BIGINT, times as µs. Too large is an error."""
    if column.type == "decimal":
        return f"({expression} * {10**column.scale})::BIGINT"
    if column.type == "timestamp_us":
        return f"epoch_us({expression})"
    return expression


def captured_types(view: View, table: CapturedTable) -> dict[str, Column]:
    """The table's columns by name. Raises OfflineStoreError when it lacks one that the view needs."""
    types = {column.name: column for column in table.columns}
    needed = {view.row_id, view.event_time, *view.join_keys, *(column.name for column in view.columns)}
    if missing := sorted(needed - set(types)):
        raise OfflineStoreError(
            "offline.columns", f"view {view.name!r} needs columns {missing} that {table.table} does not capture"
        )
    return types


def view_column(name: str) -> str:
    """What a column of the view is called in the relations here: a name of its own, whatever the business calls it."""
    return quote(f"column {name}")


def keys_sql(view: View) -> str:
    """The entity's keys after the change, as ``k0``…."""
    return ", ".join(f"{quote('after_' + key)} AS k{i}" for i, key in enumerate(view.join_keys))


def row_id_sql(view: View) -> str:
    """The primary key of the row that a change is about; not of a truncate."""
    return f"CASE WHEN op = 'd' THEN {quote('before_' + view.row_id)} ELSE {quote('after_' + view.row_id)} END"


def versions_sql(
    view: View, table: CapturedTable, changes: str, entities: str, span: Span, rows: str | None = None
) -> str:
    """SELECT of the versions: the entity's ``code``, ``row_id``, ``event_us``, ``added``, ``removed`` (null: still
    there), ``added_us``, ``removed_us`` (known_at of both, µs), and the view's columns (``view_column``).

    changes: relation in the schema of the table's changes. entities: relation with the keys asked for, ``k0``…, and
    their ``code``. rows: relation with the ``row_id`` wanted, None for all.
    """
    types = captured_types(view, table)
    captured = "".join(f", {captured_sql(c)} AS {view_column(c.name)}" for c in view.columns)
    columns = "".join(
        f", {column_sql(types[c.name], 'live.' + view_column(c.name))} AS {view_column(c.name)}" for c in view.columns
    )
    wanted = ", ".join(f"k{i}" for i in range(len(view.join_keys)))
    return f"""
WITH every AS (
  SELECT {row_id_sql(view)} AS row_id, op, position AS added, epoch_us(known_at) AS added_us,
         epoch_us({quote("after_" + view.event_time)}) AS event_us, {keys_sql(view)}{captured}
  FROM {changes} WHERE op <> 't'
), events AS (
  FROM every{"" if rows is None else f" SEMI JOIN {rows} USING (row_id)"}
), truncates AS (
  SELECT position AS truncated, epoch_us(known_at) AS truncated_us FROM {changes} WHERE op = 't'
), again AS (
  SELECT row_id FROM events GROUP BY row_id HAVING count(*) > 1
), closed AS (
  SELECT *, NULL::VARCHAR AS removed, NULL::BIGINT AS removed_us FROM events ANTI JOIN again USING (row_id)
  UNION ALL
  SELECT *, lead(added) OVER w AS removed, lead(added_us) OVER w AS removed_us
  FROM events SEMI JOIN again USING (row_id)
  WINDOW w AS (PARTITION BY row_id ORDER BY added, op <> 'd')
), live AS (
  SELECT closed.*, code FROM closed JOIN {entities} USING ({wanted})
  WHERE op <> 'd' AND event_us > {span.after_us} AND event_us <= {span.until_us}
    AND (removed IS NULL OR removed > added)
)
SELECT code, row_id, event_us, added, added_us, least(removed, truncated) AS removed,
       least(removed_us, truncated_us) AS removed_us{columns}
FROM live ASOF LEFT JOIN truncates ON live.added < truncates.truncated
"""
