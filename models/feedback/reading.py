"""Settled labels out of the lake: the business system's label table and everything else that is said."""

from __future__ import annotations

from pathlib import Path

import duckdb

from appliance.parts.base import Context
from models.feedback import settle
from models.feedback.settle import Statement
from models.recipe import Recipe
from stream_jobs.lake import reading, schema
from stream_jobs.plan import CapturedTable, Service


def settled(
    context: Context, connection: duckdb.DuckDBPyConnection, service: Service, labels: CapturedTable, recipe: Recipe
) -> None:
    """Make the table ``answers`` (event_key text, label 1 or 0, label_known_at µs UTC, source, contradicted)."""
    _statements(context, connection, service, labels, recipe)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE answers AS SELECT * RENAME (known_at AS label_known_at) FROM ({settle.SQL})"
    )


def of_event(
    context: Context, service: Service, labels: CapturedTable, recipe: Recipe, event_key: str, scratch: Path
) -> list[Statement]:
    """Everything that was said of one event, the earliest first."""
    with reading.connect(scratch) as connection:
        _statements(context, connection, service, labels, recipe)
        rows = connection.execute(
            "SELECT DISTINCT source, label, known_at, statement_id FROM statements WHERE event_key = ?"
            " ORDER BY known_at, statement_id",
            [event_key],
        ).fetchall()
    return [Statement(*row) for row in rows]


def _statements(
    context: Context, connection: duckdb.DuckDBPyConnection, service: Service, labels: CapturedTable, recipe: Recipe
) -> None:
    """The relation ``statements``. A label row that was deleted, or of which there is no value, is taken back.

    Of a label row its last image counts, whatever time it names: a later commit corrects an earlier one. A prediction
    id that the ledger does not know yet names no event; it counts once it does.
    """
    reading.changes(context, connection, labels).create_view("label_changes")
    reading.flat(context, connection, context.names.lake_feedback(service.name), schema.FEEDBACK).create_view(
        "feedback"
    )
    reading.flat(context, connection, context.names.lake_ledger(service.name), schema.LEDGER).create_view("predictions")
    key, value, known = (
        reading.quote(f"after_{name}") for name in (recipe.label.key, recipe.label.value, recipe.label.known_at)
    )
    after, before = (reading.quote(f"{image}_{labels.primary_key[0]}") for image in ("after", "before"))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE statements AS
        SELECT {key}::VARCHAR AS event_key, 'table' AS source, {value}::INTEGER AS label,
          epoch_us({known}) AS known_at, position AS statement_id
        FROM (FROM label_changes WHERE op <> 't'
          QUALIFY row_number() OVER (PARTITION BY coalesce({after}, {before}) ORDER BY position DESC) = 1)
        WHERE op <> 'd'
        UNION ALL
        SELECT coalesce(nullif(feedback.event_key, ''), named.event_key), way, label::INTEGER,
          epoch_us(known_at), feedback_id
        FROM feedback LEFT JOIN (
          SELECT prediction_id, any_value(event_key) AS event_key FROM predictions
          WHERE prediction_id IN (SELECT prediction_id FROM feedback WHERE event_key = '') GROUP BY prediction_id
        ) AS named ON feedback.event_key = '' AND named.prediction_id = feedback.prediction_id
        WHERE feedback.event_key <> '' OR named.event_key IS NOT NULL"""
    )
