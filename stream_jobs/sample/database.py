"""The sample business database, seen as the business's own application sees it (role ``bank_app``)."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv
from psycopg import sql

from appliance.clients import postgres
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs.errors import SampleError
from stream_jobs.sample.events import Event, Ints

_COPY_ROWS = 100_000


def connect(context: Context) -> psycopg.Connection[Any]:
    """A connection in transactions of its own. Raises SampleError when the database does not answer."""
    try:
        return postgres.sample(context, autocommit=False)
    except psycopg.OperationalError as error:
        raise SampleError(
            "sample.database_down", f"the sample business database does not answer: {str(error).strip()}",
            hint="appliance up sample-db",
        ) from error  # fmt: skip


def name(table: str) -> sql.Identifier:
    """``schema.table`` as SQL."""
    return sql.Identifier(*table.split("."))


def exists(connection: psycopg.Connection[Any], table: str) -> bool:
    found = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    return bool(found and found[0])


def count(connection: psycopg.Connection[Any], table: str) -> int:
    """Number of rows; 0 when there is no such table."""
    if not exists(connection, table):
        return 0
    found = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(name(table))).fetchone()
    return int(found[0]) if found else 0


def copy(connection: psycopg.Connection[Any], table: str, rows: pa.Table) -> None:
    """Append rows with COPY."""
    columns = sql.SQL(", ").join(sql.Identifier(column) for column in rows.column_names)
    statement = sql.SQL("COPY {} ({}) FROM STDIN WITH (FORMAT csv)").format(name(table), columns)
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="none")
    with connection.cursor() as cursor, cursor.copy(statement) as into:
        for first in range(0, rows.num_rows, _COPY_ROWS):
            text = io.BytesIO()
            pyarrow.csv.write_csv(rows.slice(first, _COPY_ROWS), text, options)
            into.write(text.getvalue())


def capturing(connection: psycopg.Connection[Any]) -> list[str]:
    """Publications of this database: somebody captures its changes."""
    return [row[0] for row in connection.execute("SELECT pubname FROM pg_publication ORDER BY 1").fetchall()]


class Writer:
    """Commits events, one transaction a call."""

    def __init__(
        self, connection: psycopg.Connection[Any], tables: Sequence[str], columns: Sequence[Sequence[str]]
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._inserts = [
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                name(table),
                sql.SQL(", ").join(map(sql.Identifier, its_columns)),
                sql.SQL(", ").join([sql.Placeholder()] * len(its_columns)),
            )
            for table, its_columns in zip(tables, columns, strict=True)
        ]

    def commit(self, events: Iterable[Event]) -> None:
        """Insert the events in their order and commit. Raises SampleError naming the row that is there already."""
        try:
            with self._connection.pipeline(), self._connection.cursor() as cursor:
                for event in events:
                    cursor.execute(self._inserts[event.stream], event.values, prepare=True)
                self._connection.commit()
        except psycopg.errors.UniqueViolation as error:
            self._connection.rollback()
            raise SampleError(
                "sample.row_exists",
                f"the business database has a row of its own where the replay comes to: {error.diag.message_detail}",
                hint="delete that row (own rows take keys above those of the sample), then replay again",
            ) from error
        except psycopg.OperationalError as error:
            raise _gone(error) from error

    def present(self, keys: Sequence[Ints], key_columns: Sequence[str]) -> list[set[int]]:
        """For each table, which of the keys are there."""
        found = []
        for table, column, wanted in zip(self._tables, key_columns, keys, strict=True):
            query = sql.SQL("SELECT {0} FROM {1} WHERE {0} = ANY(%s)").format(sql.Identifier(column), name(table))
            found.append({int(row[0]) for row in self._connection.execute(query, (wanted.tolist(),)).fetchall()})
        self._connection.commit()
        return found


def _gone(error: psycopg.OperationalError) -> ApplianceError:
    return SampleError(
        "sample.database_down", f"the sample business database went away: {str(error).strip()}",
        hint="appliance up sample-db; the replay then goes on where it was",
    )  # fmt: skip
