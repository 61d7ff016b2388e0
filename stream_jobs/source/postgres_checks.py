"""Whether a PostgreSQL database is as the connector needs it: each point, with what to do where it is not.

Everything is asked as the connector's own role, so that what is found is what the connector will find.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from appliance.parts.base import Context
from stream_jobs.errors import SourceError
from stream_jobs.plan import CapturedTable
from stream_jobs.source.check import Check, point, primary_key
from stream_jobs.source.declared import Actual, compare
from stream_jobs.source.record import SCHEMA, Source, Table

_OLDEST = 12
_CONNECT_SECONDS = 10
_IDENTITIES = {"d": "DEFAULT", "f": "FULL", "n": "NOTHING", "i": "INDEX"}
Connection = psycopg.Connection[Any]


def connect(context: Context, source: Source) -> Connection:
    """As the connector's role. Raises SourceError when the database does not let it in."""
    address = source.address
    try:
        return psycopg.connect(
            host=address.host, port=address.port, dbname=address.database, user=address.user,
            password=context.secrets.get(source.secret), sslmode=address.ssl_mode or "prefer",
            connect_timeout=_CONNECT_SECONDS, autocommit=True,
        )  # fmt: skip
    except psycopg.OperationalError as error:
        raise SourceError(
            "source.no_connection", f"{address} does not let role {address.user} in: {str(error).strip()}",
            hint=f"the administrator runs the SQL of `appliance source add {source.name} … --print-sql`, "
            "and pg_hba.conf lets the role in from this machine",
        ) from error  # fmt: skip


def now(context: Context, source: Source) -> int:
    """LSN up to which the server has written its log."""
    with connect(context, source) as connection:
        return int(one(connection, "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))


def check(connection: Connection, source: Source, declared: Sequence[CapturedTable]) -> list[Check]:
    """Every point, in the order in which an administrator would mend them."""
    return [
        *_server(connection, source),
        *_role(connection, source),
        *(found for table in source.tables for found in _table(connection, source, table)),
        *(found for table in declared for found in compare(table, actual(connection, table.table))),
        *_own_tables(connection),
        *_publication(connection, source),
    ]


def one(connection: Connection, query: str, *values: Any) -> Any:
    """First column of the only row, None if there is no row."""
    row = connection.execute(query.encode(), values or None).fetchone()
    return row[0] if row else None


def _server(connection: Connection, source: Source) -> Iterator[Check]:
    major = connection.info.server_version // 10_000
    yield point("server version", major, lambda found: found >= _OLDEST, f"PostgreSQL {_OLDEST} or newer is needed")
    yield point(
        "wal_level", one(connection, "SHOW wal_level"), lambda found: found == "logical",
        "ALTER SYSTEM SET wal_level = 'logical', then restart the database server",
    )  # fmt: skip
    yield point(
        "max_slot_wal_keep_size", one(connection, "SHOW max_slot_wal_keep_size"), lambda found: found != "-1",
        "ALTER SYSTEM SET max_slot_wal_keep_size = '4GB'; SELECT pg_reload_conf(); without it a stopped appliance "
        "could fill the database's disk",
    )  # fmt: skip
    mine = "(SELECT count(*) FROM pg_replication_slots WHERE slot_name <> %s)"
    free = one(connection, f"SELECT current_setting('max_replication_slots')::int - {mine}", source.publication)
    yield point(
        "free replication slots", free, lambda found: found >= 1,
        "raise max_replication_slots and max_wal_senders by one, then restart the database server",
    )  # fmt: skip


def _role(connection: Connection, source: Source) -> Iterator[Check]:
    role = source.address.user
    yield point(
        f"role {role} may replicate",
        one(connection, "SELECT rolreplication FROM pg_roles WHERE rolname = current_user"),
        bool, f"ALTER ROLE {role} REPLICATION",
    )  # fmt: skip
    yield point(
        f"role {role} is no superuser",
        not one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"),
        bool, f"ALTER ROLE {role} NOSUPERUSER",
    )  # fmt: skip


def _table(connection: Connection, source: Source, table: Table) -> Iterator[Check]:
    oid = one(connection, "SELECT to_regclass(%s)::oid", table.name)
    yield point(f"table {table.name}", "there" if oid else "missing", lambda found: found == "there",
                 f"create {table.name}, or leave it out of --tables")  # fmt: skip
    if not oid:
        return
    role = source.address.user
    yield point(
        f"{role} reads {table.name}",
        one(connection, "SELECT has_schema_privilege(relnamespace, 'USAGE') AND has_table_privilege(oid, 'SELECT') "
            "FROM pg_class WHERE oid = %s", oid),
        bool, f"GRANT USAGE ON SCHEMA … and SELECT ON TABLE {table.name} TO {role}",
    )  # fmt: skip
    yield primary_key(table.name, actual(connection, table.name).key)
    identity = identity_of(connection, table.name)
    yield point(
        f"replica identity of {table.name}", identity, lambda found: found == "FULL" or not table.full_identity,
        f"ALTER TABLE {table.name} REPLICA IDENTITY FULL",
    )  # fmt: skip


def actual(connection: Connection, table: str) -> Actual:
    """The table's columns (a domain's as the type below it) and key."""
    columns = connection.execute(
        b"SELECT attname, format_type(CASE typtype WHEN 'd' THEN typbasetype ELSE atttypid END, "
        b"CASE typtype WHEN 'd' THEN typtypmod ELSE atttypmod END) "
        b"FROM pg_attribute JOIN pg_type t ON t.oid = atttypid "
        b"WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    ).fetchall()
    key = connection.execute(
        b"SELECT attname FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
        b"WHERE indrelid = to_regclass(%s) AND indisprimary ORDER BY array_position(indkey::int2[], attnum)",
        (table,),
    ).fetchall()
    return Actual(dict(columns), tuple(name for (name,) in key))


def identity_of(connection: Connection, table: str) -> str:
    """Replica identity of a table: DEFAULT, FULL, NOTHING or INDEX; DEFAULT when there is no such table."""
    return _IDENTITIES[one(connection, "SELECT relreplident FROM pg_class WHERE oid = to_regclass(%s)", table) or "d"]


def _own_tables(connection: Connection) -> Iterator[Check]:
    for name, rights in (("heartbeat", ("SELECT", "UPDATE")), ("signal", ("SELECT", "INSERT"))):
        table = f"{SCHEMA}.{name}"
        missing = [
            right
            for right in rights
            if not one(connection, "SELECT has_table_privilege(to_regclass(%s), %s)", table, right)
        ]
        found = f"lacks {', '.join(missing)}" if missing else "there"
        yield Check(f"table {table}", not missing, found, "run the SQL of --print-sql again" if missing else "")
    if one(connection, "SELECT has_table_privilege(to_regclass(%s), 'SELECT')", f"{SCHEMA}.heartbeat"):
        rows = one(connection, f"SELECT count(*) FROM {SCHEMA}.heartbeat WHERE id = 1")
        yield point(
            "heartbeat row", rows, lambda found: found == 1, f"INSERT INTO {SCHEMA}.heartbeat VALUES (1, now())"
        )


def _publication(connection: Connection, source: Source) -> Iterator[Check]:
    name = source.publication
    row = connection.execute(
        b"SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname = %s", (name,)
    ).fetchone()
    yield Check(f"publication {name}", row is not None, "there" if row else "missing",
                "" if row else "run the SQL of --print-sql")  # fmt: skip
    if row is None:
        return
    yield point(
        f"publication {name} publishes every operation", row[0], bool,
        f"ALTER PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')",
    )  # fmt: skip
    tables = {
        f"{schema}.{table}"
        for schema, table in connection.execute(
            b"SELECT schemaname, tablename FROM pg_publication_tables WHERE pubname = %s", (name,)
        ).fetchall()
    }
    wanted = {table.name for table in source.tables} | {f"{SCHEMA}.heartbeat", f"{SCHEMA}.signal"}
    missing = ", ".join(sorted(wanted - tables))
    yield Check(
        f"tables of publication {name}", not missing, f"lacks {missing}" if missing else f"{len(tables)} tables",
        f"ALTER PUBLICATION {name} ADD TABLE {missing}" if missing else "",
    )  # fmt: skip
