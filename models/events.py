"""The rows a model learns from: a service's events with their answers, out of the lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from appliance.parts.base import Context
from models.errors import RecipeError, TrainingSetError
from models.feedback import reading as feedback
from models.recipe import Recipe
from stream_jobs.lake import delta, reading
from stream_jobs.plan import CapturedTable, Plan, Service

_MEMORY_MIB = 768


def tables(plan: Plan, service: Service, recipe: Recipe) -> tuple[CapturedTable, CapturedTable]:
    """(events, labels) among the captured tables. Raises RecipeError when one is not captured."""
    captured = {table.table: table for table in plan.tables if table.source == service.source}
    for wanted in (service.event_table, recipe.label.table):
        if wanted not in captured:
            raise RecipeError(
                "recipe.no_table",
                f"table {wanted!r} of source {service.source!r} is not captured; there are {sorted(captured)}",
                hint="declare it in feature_repo and run `appliance features apply`",
            )
    return captured[service.event_table], captured[recipe.label.table]


def lake_versions(
    context: Context, found: tuple[CapturedTable, ...], scratch: Path
) -> tuple[dict[str, int], dict[str, str]]:
    """Lake folder → newest version of each change table, and the last position in it ("" where it is empty)."""
    versions, positions = {}, {}
    for table in found:
        name = context.names.lake_changes(table.source, table.table)
        versions[name] = int(delta.open_table(context.layout.lake / name).version())
        with reading.connect(scratch, reading.Limits(_MEMORY_MIB)) as connection:
            reading.changes(context, connection, table).create_view("changes")
            row = connection.execute("SELECT max(position) FROM changes").fetchone()
        positions[name] = str(row[0]) if row and row[0] else ""
    return versions, positions


def last_event(context: Context, events: CapturedTable, scratch: Path) -> int:
    """Time (µs UTC) of the newest event in the lake. Raises TrainingSetError when there is none."""
    with reading.connect(scratch, reading.Limits(_MEMORY_MIB)) as connection:
        reading.changes(context, connection, events).create_view("changes")
        column = reading.quote(f"after_{events.event_time}")
        row = connection.execute(f"SELECT epoch_us(max({column})) FROM changes WHERE op IN ('c', 'r')").fetchone()
    if row is None or row[0] is None:
        raise TrainingSetError(
            "training.no_events", f"the lake holds no row of {events.table}",
            hint="appliance status writer-lake; appliance source list",
        )  # fmt: skip
    return int(row[0])


def labelled(
    context: Context, plan: Plan, service: Service, recipe: Recipe, period: tuple[int, int], scratch: Path
) -> pa.Table:
    """Events of [start, end) as they first were, with the answer that is now known, in the order of their time.

    Columns: ``event_key`` (text), ``event_time``, ``label_known_at`` (int64 µs UTC, 0 without an answer), ``label``
    (1, 0, null), ``position``, ``known_at``, ``assumed``, ``subject``, and those of the service's row.
    """
    events, labels = tables(plan, service, recipe)
    with reading.connect(scratch, reading.Limits(_MEMORY_MIB)) as connection:
        feedback.settled(context, connection, service, labels, recipe)
        return _events(context, connection, events, service, recipe, period)


def _events(
    context: Context,
    connection: duckdb.DuckDBPyConnection,
    events: CapturedTable,
    service: Service,
    recipe: Recipe,
    period: tuple[int, int],
) -> pa.Table:
    reading.changes(context, connection, events).create_view("event_changes")
    key, time = (reading.quote(f"after_{name}") for name in (service.event_key, service.event_time))
    row = ", ".join(
        f"{reading.quote(f'after_{column.name}')} AS {reading.quote(column.name)}" for column in service.row
    )
    subject = reading.quote(f"after_{recipe.evaluation.subject}")
    return connection.sql(
        f"""WITH first_image AS (
          FROM event_changes WHERE op IN ('c', 'r') AND epoch_us({time}) >= $start AND epoch_us({time}) < $end
          QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY position) = 1)
        SELECT {key}::VARCHAR AS event_key, epoch_us({time}) AS event_time, position, known_at, assumed,
          {subject} AS subject, {row}, answers.label AS label,
          coalesce(answers.label_known_at, 0) AS label_known_at
        FROM first_image LEFT JOIN answers ON answers.event_key = {key}::VARCHAR
        ORDER BY event_time, event_key""",
        params={"start": period[0], "end": period[1]},
    ).to_arrow_table()
