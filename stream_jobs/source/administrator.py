"""The sample business database, where we are the administrator too: runs the SQL that others' administrators run.

Another administrator runs the printed script; nothing here ever asks for an administrator's password.
"""

from __future__ import annotations

import difflib
import os
import subprocess
from pathlib import Path
from typing import Any

import psycopg

from appliance.clients import postgres
from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs.errors import SourceError
from stream_jobs.source import postgres_sql, record
from stream_jobs.source.record import Address, Source

_PG_DUMP = "/usr/lib/postgresql/15/bin/pg_dump"


def sample_address(context: Context) -> Address:
    return Address("postgresql", "127.0.0.1", context.port(Port.SAMPLE_DB), "bank")


def connect(context: Context) -> psycopg.Connection[Any]:
    """As the sample database's superuser. Raises SourceError when it does not answer."""
    try:
        return postgres.sample(context, role="postgres")
    except psycopg.OperationalError as error:
        raise SourceError(
            "source.no_connection", f"the sample business database does not answer: {str(error).strip()}",
            hint="appliance up sample-db",
        ) from error  # fmt: skip


def set_up(context: Context, source: Source) -> None:
    """Keep the schema as it is, then run the SQL, all or nothing."""
    _before(context, source).write_text(schema(context))
    password = context.secrets.get(source.secret)
    with connect(context) as connection, connection.transaction():
        for each in postgres_sql.statements(source, password):
            connection.execute(each.do.encode())


def take_back(context: Context, source: Source) -> list[str]:
    """Undo everything; returns how the schema now differs from what it was before, best nothing."""
    slot, *rest = postgres_sql.undo(source)
    with connect(context) as connection:
        connection.execute(slot.encode())
        with connection.transaction():
            for line in rest:
                connection.execute(line.encode())
        roles = connection.execute("SELECT rolname FROM pg_roles WHERE rolname = %s", (source.address.user,)).fetchall()
    left = [f"role {role[0]} is still there" for role in roles]
    path = _before(context, source)
    if not path.exists():
        return left
    differences = difflib.unified_diff(
        path.read_text().splitlines(), schema(context).splitlines(), "before", "after", lineterm="", n=0
    )
    left += list(differences)
    path.unlink()
    return left


def _before(context: Context, source: Source) -> Path:
    return record.folder(context) / f"{source.name}.schema-before.sql"


def schema(context: Context) -> str:
    """The database's schema by ``pg_dump``, without what differs from one dump to the next."""
    address = sample_address(context)
    done = subprocess.run(
        [_PG_DUMP, "--schema-only", "--host", address.host, "--port", str(address.port), "--username", "postgres",
         "--no-password", address.database],
        env={"PATH": os.defpath, "PGPASSWORD": context.secrets.get("sampledb.postgres"), "LANG": "C.UTF-8"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SourceError("source.schema", f"pg_dump of {address} failed: {done.stderr.strip()[-500:]}")
    passing = ("\\restrict", "\\unrestrict", "--")
    return "\n".join(line for line in done.stdout.splitlines() if line and not line.startswith(passing)) + "\n"
