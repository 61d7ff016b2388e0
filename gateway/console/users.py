"""Who may log in to the console: one user, ``admin``, whose password is kept hashed with scrypt (RFC 7914)."""

from __future__ import annotations

import getpass
import hashlib
import hmac
import os
import secrets

from appliance import audit
from appliance.parts.base import Context
from gateway import database

ADMIN = "admin"
SECRET = "console.admin"


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=1 << 14, r=8, p=1, maxmem=64 << 20, dklen=32)


def _store(context: Context, password: str, act: str) -> None:
    salt = os.urandom(16)
    tenant = context.installation.tenant
    with database.connect(context) as connection:
        connection.execute(
            "insert into gateway.console_users (tenant, name, salt, password_scrypt) values (%s, %s, %s, %s)"
            " on conflict (tenant, name) do update set salt = excluded.salt,"
            " password_scrypt = excluded.password_scrypt, changed_at = now()",
            (tenant, ADMIN, salt, _scrypt(password, salt)),
        )
        audit.record(connection, tenant, getpass.getuser(), act, ADMIN)


def ensure(context: Context) -> None:
    """Make ``admin`` with the password in the secret ``console.admin`` if there is no such user yet."""
    with database.connect(context) as connection:
        there = connection.execute(
            "select 1 from gateway.console_users where tenant = %s and name = %s",
            (context.installation.tenant, ADMIN),
        ).fetchone()
    if there is None:
        _store(context, context.secrets.get(SECRET), "console.user.create")


def reset(context: Context) -> None:
    """Give ``admin`` a new random password; it stands in the secret ``console.admin`` afterwards."""
    password = secrets.token_urlsafe(18)
    context.secrets.put(SECRET, password)
    _store(context, password, "console.password.reset")


def verify(context: Context, name: str, password: str) -> bool:
    """Whether name and password are right; takes the same time whichever is wrong."""
    with database.connect(context) as connection:
        row = connection.execute(
            "select salt, password_scrypt from gateway.console_users where tenant = %s and name = %s",
            (context.installation.tenant, name),
        ).fetchone()
    salt, expected = (bytes(row[0]), bytes(row[1])) if row else (bytes(16), bytes(32))
    return hmac.compare_digest(_scrypt(password[:1024], salt), expected) and row is not None
