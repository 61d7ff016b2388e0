"""Administrative acts: who did what to what, and why. Written in the transaction that does the act, or before it.

The table ``gateway.acts`` is in the appliance's own PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from appliance.clients import postgres
from appliance.errors import ApplianceError
from appliance.parts.base import Context

TABLE = """
create schema if not exists gateway;
create table if not exists gateway.acts (
  at timestamptz not null default now(),
  tenant text not null,
  who text not null,
  act text not null,
  subject text not null
);
alter table gateway.acts add column if not exists details jsonb not null default '{}';
"""
_TIMEOUT_SECONDS = 3


class AuditError(ApplianceError):
    """An act cannot be written down, so it is not done."""


class Act(msgspec.Struct, frozen=True):
    """details: why, and the figures it was decided by."""

    at: datetime
    who: str
    act: str
    subject: str
    details: dict[str, Any]


def record(connection: psycopg.Connection[Any], tenant: str, who: str, act: str, subject: str, **details: Any) -> None:
    """Write an act down, in the transaction that does it. details: JSON values."""
    connection.execute(
        "insert into gateway.acts (tenant, who, act, subject, details) values (%s, %s, %s, %s, %s)",
        (tenant, who, act, subject, msgspec.json.encode(details).decode()),
    )


@contextmanager
def recorded(context: Context, who: str, act: str, subject: str, **details: Any) -> Iterator[None]:
    """Do an act outside PostgreSQL: it stays written down if the block ends well, and is not begun when it cannot be.

    Raises AuditError when PostgreSQL does not answer.
    """
    try:
        connection = postgres.connect(context, autocommit=False, options=f"-c statement_timeout={_TIMEOUT_SECONDS}s")
    except psycopg.Error as error:
        raise _away(error) from error
    with connection:
        try:
            connection.execute(TABLE)
            connection.commit()
            record(connection, context.installation.tenant, who, act, subject, **details)
        except psycopg.Error as error:
            raise _away(error) from error
        yield


def _away(error: psycopg.Error) -> AuditError:
    return AuditError("audit.unavailable", f"the act cannot be written down: {error}", hint="appliance status postgres")


def of_subject(context: Context, subject: str, most: int) -> list[Act]:
    """The newest acts on a subject, the newest first. Raises AuditError when PostgreSQL does not answer."""
    try:
        with postgres.connect(context, autocommit=False) as connection:
            connection.execute(TABLE)
            rows = connection.execute(
                "select at, who, act, subject, details from gateway.acts where tenant = %s and subject = %s"
                " order by at desc limit %s",
                (context.installation.tenant, subject, most),
            ).fetchall()
    except psycopg.Error as error:
        raise _away(error) from error
    return [Act(*row) for row in rows]
