"""Connections to the appliance's own PostgreSQL and to the sample business database."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import psycopg

from appliance.parts.base import Context
from appliance.ports import Port

_CONNECT_TIMEOUT_SECONDS = 5


def connect(
    context: Context, *, port: Port = Port.POSTGRES, database: str = "appliance", role: str = "appliance",
    secret: str | None = None, autocommit: bool = True, **options: Any,
) -> psycopg.Connection[Any]:  # fmt: skip
    """A connection; ``secret`` names the role's password, by default ``postgres.<role>``. Raises psycopg.Error."""
    return psycopg.connect(
        host="127.0.0.1", port=context.port(port), dbname=database, user=role,
        password=context.secrets.get(secret or f"postgres.{role}"), connect_timeout=_CONNECT_TIMEOUT_SECONDS,
        autocommit=autocommit, **options,
    )  # fmt: skip


def sample(
    context: Context, *, role: str = "bank_app", database: str = "bank", **options: Any
) -> psycopg.Connection[Any]:
    """To the sample database, as ``bank_app`` (the bank's application) or ``postgres`` (its administrator)."""
    return connect(context, port=Port.SAMPLE_DB, database=database, role=role, secret=f"sampledb.{role}", **options)


def url(context: Context, role: str = "feast", database: str = "feast") -> str:
    """SQLAlchemy address of a database of ours. It holds the password: for files of mode 600 and environments only."""
    password = quote(context.secrets.get(f"postgres.{role}"), safe="")
    return f"postgresql+psycopg://{role}:{password}@127.0.0.1:{context.port(Port.POSTGRES)}/{database}"
