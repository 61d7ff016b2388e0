"""A write-back table in PostgreSQL: the administrator's SQL, and whether the table is as it must be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from appliance.parts.base import Context
from stream_jobs.errors import WritebackError
from stream_jobs.source import postgres_checks, postgres_sql
from stream_jobs.source.check import Check, point
from stream_jobs.source.postgres_sql import Statement
from stream_jobs.source.scram import verifier
from stream_jobs.writeback import table
from stream_jobs.writeback.record import Target

RIGHTS = ("SELECT", "INSERT", "UPDATE")
_CONNECT_SECONDS = 10
_STATEMENT_MS = 30_000


def connect(context: Context, target: Target) -> psycopg.Connection[Any]:
    """As the writing role. Raises WritebackError when the database does not let it in."""
    address = target.address
    try:
        return psycopg.connect(
            host=address.host, port=address.port, dbname=address.database, user=address.user,
            password=context.secrets.get(target.secret), sslmode=address.ssl_mode or "prefer",
            connect_timeout=_CONNECT_SECONDS, autocommit=True, application_name="appliance writeback",
            options=f"-c statement_timeout={_STATEMENT_MS}", tcp_user_timeout=_STATEMENT_MS,
        )  # fmt: skip
    except psycopg.OperationalError as error:
        raise WritebackError(
            "writeback.no_connection", f"{address} does not let role {address.user} in: {str(error).strip()}",
            hint=f"the administrator runs the SQL of `appliance writeback add {target.service} "
            f"--table {target.table} --print-sql`, and pg_hba.conf lets the role in from this machine",
        ) from error  # fmt: skip


def statements(target: Target, key_type: str, password: str) -> list[Statement]:
    """What the administrator runs, in its order. key_type: of the event's key."""

    def text(template: str, *names: sql.Composable) -> str:
        return sql.SQL(template).format(*names).as_string(None)

    role, place = sql.Identifier(target.address.user), table.name(target)
    schema = target.table.partition(".")[0]
    types = table.COLUMNS | {"event_key": key_type}
    columns = ", ".join(
        f"{column} {kind}{' PRIMARY KEY' if column == target.key else ' NOT NULL'}" for column, kind in types.items()
    )
    found = [
        Statement(
            f"role {target.address.user}",
            text("CREATE ROLE {} LOGIN PASSWORD {}", role, sql.Literal(verifier(password))),
            text("DROP ROLE IF EXISTS {}", role),
        ),
        Statement(
            f"role {target.address.user}: may connect",
            text("GRANT CONNECT ON DATABASE {} TO {}", sql.Identifier(target.address.database), role),
            text("REVOKE CONNECT ON DATABASE {} FROM {}", sql.Identifier(target.address.database), role),
        ),
    ]
    if schema != "public":
        found.append(Statement(f"schema {schema}", text("CREATE SCHEMA IF NOT EXISTS {}", sql.Identifier(schema))))
    return [
        *found,
        Statement(
            f"table {target.table}, a row {'an event' if target.by == 'event' else 'a prediction'}",
            text("CREATE TABLE {} (", place) + columns + ")",
            text("DROP TABLE IF EXISTS {}", place),
        ),
        Statement(
            f"role {target.address.user}: may write there, and nowhere else",
            text("GRANT USAGE ON SCHEMA {} TO {}", sql.Identifier(schema), role),
            text("REVOKE USAGE ON SCHEMA {} FROM {}", sql.Identifier(schema), role),
        ),
        Statement(
            f"role {target.address.user}: may write there, and nowhere else",
            text(f"GRANT {', '.join(RIGHTS)} ON TABLE {{}} TO {{}}", place, role),
        ),
    ]


def undo(target: Target) -> list[str]:
    """What takes everything back but the schema, which may hold more."""
    return [each.undo for each in reversed(statements(target, "text", "")) if each.undo]


def script(target: Target, key_type: str, password: str) -> str:
    """For an administrator: the SQL with what each line touches, and how to take it back."""
    lines = [f"-- {each.touches}\n{each.do};" for each in statements(target, key_type, password)]
    back = "".join(f"--   {line}\n" for line in postgres_sql.script(undo(target)).splitlines())
    return (
        f"-- For an administrator of {target.address}, in database {target.address.database}.\n"
        "-- The password is given as its hash only. Columns of your own may be added; they need a default or be null.\n"
        "BEGIN;\n" + "\n".join(lines) + f"\nCOMMIT;\n\n-- To take it back, with what was written:\n{back}"
    )


def check(connection: psycopg.Connection[Any], target: Target) -> list[Check]:
    """Every point, asked as the writing role, in the order in which an administrator would mend them."""
    return list(_points(connection, target))


def _points(connection: psycopg.Connection[Any], target: Target) -> Iterator[Check]:
    one, where = postgres_checks.one, target.table
    user, (schema, _) = target.address.user, where.split(".")
    usable = one(connection, "SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %s", schema)
    yield point(f"{user} may use schema {schema}", usable, bool, f"GRANT USAGE ON SCHEMA {schema} TO {user}")
    if not usable:
        return
    oid = one(connection, "SELECT to_regclass(%s)::oid", where)
    yield point(f"table {where}", "there" if oid else "missing", lambda found: found == "there",
                "run the SQL of --print-sql")  # fmt: skip
    if not oid:
        return
    missing = [right for right in RIGHTS if not one(connection, "SELECT has_table_privilege(%s, %s)", where, right)]
    yield Check(
        f"{user} writes {where}", not missing, f"lacks {', '.join(missing)}" if missing else "may",
        f"GRANT {', '.join(missing)} ON TABLE {where} TO {user}" if missing else "",
    )  # fmt: skip
    actual = postgres_checks.actual(connection, where)
    lacking = sorted(table.COLUMNS.keys() - actual.columns.keys())
    yield point(f"columns of {where}", ", ".join(lacking) or "all there", lambda found: found == "all there",
                "ALTER TABLE … ADD COLUMN each of those missing")  # fmt: skip
    yield point(
        f"unique key of {where}", _unique(connection, where, target.key), bool,
        f"ALTER TABLE {where} ADD UNIQUE ({target.key})",
    )  # fmt: skip
    demanded = [name for name in _demanded(connection, where) if name not in table.COLUMNS]
    yield point(
        f"other columns of {where}", ", ".join(demanded) or "none that must be given", lambda _: not demanded,
        f"ALTER TABLE {where} ALTER COLUMN … DROP NOT NULL, or give it a default",
    )  # fmt: skip
    publications = [
        name
        for (name,) in connection.execute(
            b"SELECT pubname FROM pg_publication_tables WHERE (schemaname, tablename) = (%s, %s)"
            rb" AND pubname LIKE 'appliance\_%%'",
            where.split("."),
        ).fetchall()
    ]
    yield point(
        f"{where} is not captured", ", ".join(publications) or "it is not", lambda _: not publications,
        "what is written back would come in again: write to a table that no source captures",
    )  # fmt: skip


def _unique(connection: psycopg.Connection[Any], where: str, column: str) -> bool:
    """Whether a whole unique index is on exactly that column."""
    return bool(
        postgres_checks.one(
            connection,
            "SELECT count(*) > 0 FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0] "
            "WHERE indrelid = to_regclass(%s) AND indisunique AND indisvalid AND indpred IS NULL AND indnatts = 1 "
            "AND attname = %s",
            where, column,
        )
    )  # fmt: skip


def _demanded(connection: psycopg.Connection[Any], where: str) -> list[str]:
    """Columns that are neither null nor have a default."""
    found = connection.execute(
        b"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped "
        b"AND attnotnull AND NOT atthasdef AND attidentity = '' ORDER BY attnum",
        (where,),
    ).fetchall()
    return [name for (name,) in found]
