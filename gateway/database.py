"""The gateway's tables in the appliance's own PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from appliance import audit
from appliance.clients import postgres
from appliance.parts.base import Context
from gateway.errors import PartDownError

_TABLES = """
create schema if not exists gateway;
create table if not exists gateway.apps (
  tenant text not null,
  id text not null,
  name text not null,
  token_sha256 bytea not null,
  services text[],
  created_at timestamptz not null default now(),
  expires_at timestamptz not null,
  revoked_at timestamptz,
  primary key (tenant, id)
);
alter table gateway.apps
  add column if not exists requests_per_second integer,
  add column if not exists rows_per_second integer,
  add column if not exists concurrent_requests integer;
create table if not exists gateway.console_users (
  tenant text not null,
  name text not null,
  salt bytea not null,
  password_scrypt bytea not null,
  changed_at timestamptz not null default now(),
  primary key (tenant, name)
);
"""

_MANAGERS = """
create table if not exists gateway.managers (tenant text not null, app text not null, primary key (tenant, app));
"""


@contextmanager
def connect(context: Context, timeout_seconds: int = 3) -> Iterator[psycopg.Connection[Any]]:
    """A connection whose work is committed at the end. Raises PartDownError when PostgreSQL does not answer."""
    try:
        with postgres.connect(
            context, autocommit=False, options=f"-c statement_timeout={timeout_seconds}s"
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise PartDownError("postgres", error) from error


def create_tables(context: Context) -> None:
    """Create what is not there yet."""
    with connect(context) as connection:
        connection.execute(_TABLES)
        connection.execute(audit.TABLE)
        connection.execute(_MANAGERS)
