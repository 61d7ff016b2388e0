"""Rows of a write-back table: of which columns they are made, and the statement that writes one any number of times.

A row is told apart by its key. Of an event the newest prediction stays (by ``scored_at``, then by id), whatever the
order in which they come and however often; a prediction never changes. So delivery at least once leaves one row a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from appliance.records import Prediction
from stream_jobs.writeback.record import Target

COLUMNS: dict[str, str] = {
    "event_key": "text",
    "prediction_id": "uuid",
    "way": "text",
    "as_of": "timestamptz",
    "score": "double precision",
    "decision": "text",
    "reason": "text",
    "kind": "text",
    "model": "text",
    "model_version": "text",
    "scored_at": "timestamptz",
}
"""Column → its type where we say it; the event's key may have any type that its text is a value of."""

REFUSED = (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.RaiseException)
"""What the table says to a row that it will never take."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def row(prediction: Prediction) -> tuple[Any, ...]:
    """The values of a prediction, in the order of ``COLUMNS``."""
    found = {name: getattr(prediction, name) for name in COLUMNS}
    for name in ("as_of", "scored_at"):
        found[name] = _EPOCH + timedelta(microseconds=found[name])
    return tuple(found.values())


def name(target: Target) -> sql.Identifier:
    return sql.Identifier(*target.table.split("."))


def statement(target: Target) -> sql.Composed:
    """INSERT of one row, which does nothing where the table has it, or a newer one of the event, already."""
    columns = [sql.Identifier(column) for column in COLUMNS]
    insert = sql.SQL("INSERT INTO {} AS t ({}) VALUES ({}) ON CONFLICT ({}) DO ").format(
        name(target),
        sql.SQL(", ").join(columns),
        sql.SQL(", ").join([sql.Placeholder()] * len(columns)),
        sql.Identifier(target.key),
    )
    if target.by == "prediction":
        return insert + sql.SQL("NOTHING")
    changes = sql.SQL(", ").join(
        sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column)) for column in COLUMNS if column != target.key
    )
    newer = sql.SQL(" WHERE (t.scored_at, t.prediction_id) < (excluded.scored_at, excluded.prediction_id)")
    return insert + sql.SQL("UPDATE SET ") + changes + newer


def write(
    connection: psycopg.Connection[Any], target: Target, rows: Sequence[tuple[Any, ...]]
) -> list[tuple[int, psycopg.Error]]:
    """Write all rows in one transaction. Returns the places of those that the table refused, and why.

    Raises psycopg.Error where the database does not answer or does not let us write at all: then nothing is written.
    """
    upsert = statement(target)
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(upsert, rows)
        return []
    except REFUSED:
        return _one_by_one(connection, upsert, rows)


def _one_by_one(
    connection: psycopg.Connection[Any], upsert: sql.Composed, rows: Sequence[tuple[Any, ...]]
) -> list[tuple[int, psycopg.Error]]:
    refused: list[tuple[int, psycopg.Error]] = []
    with connection.transaction():
        for place, values in enumerate(rows):
            try:
                with connection.transaction():
                    connection.execute(upsert, values)
            except REFUSED as error:
                refused.append((place, error))
    return refused
