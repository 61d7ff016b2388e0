"""The SQL that an administrator of MariaDB or MySQL runs for us, and the SQL that takes it back."""

from __future__ import annotations

import hashlib

from stream_jobs.source.record import SCHEMA, Source

_RIGHTS = "RELOAD, REPLICATION SLAVE, REPLICATION CLIENT"
"""RELOAD: for the read lock of an instant under which the snapshot takes its place in the log."""


def verifier(password: str) -> str:
    """The stored form of a password for MariaDB's ``mysql_native_password``: its SHA-1's SHA-1."""
    return "*" + hashlib.sha1(hashlib.sha1(password.encode()).digest()).hexdigest().upper()


def quoted(*parts: str) -> str:
    """A name with its quotes."""
    return ".".join("`" + part.replace("`", "``") + "`" for part in parts)


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _user(source: Source) -> str:
    return f"{_text(source.address.user)}@'%'"


def _create_user(source: Source, password: str) -> str:
    if source.address.kind == "mariadb":
        return f"CREATE USER {_user(source)} IDENTIFIED VIA mysql_native_password USING {_text(verifier(password))}"
    return f"CREATE USER {_user(source)} IDENTIFIED WITH caching_sha2_password BY {_text(password)}"


def statements(source: Source, password: str) -> list[tuple[str, str]]:
    """(what it touches, SQL) in the order in which it is run."""
    user, role = _user(source), f"user {source.address.user}"
    heartbeat, signal = quoted(SCHEMA, "heartbeat"), quoted(SCHEMA, "signal")
    return [
        (role, _create_user(source, password)),
        (f"{role}: may read the binary log, and hold a read lock for an instant", f"GRANT {_RIGHTS} ON *.* TO {user}"),
        *(
            (f"{role}: may read {table.name}", f"GRANT SELECT ON {quoted(*table.name.split('.'))} TO {user}")
            for table in source.tables
        ),
        (f"database {SCHEMA}", f"CREATE DATABASE {quoted(SCHEMA)}"),
        (
            f"database {SCHEMA}: table heartbeat",
            f"CREATE TABLE {heartbeat} (id integer PRIMARY KEY, at timestamp(6) NOT NULL) ENGINE = InnoDB",
        ),
        (f"database {SCHEMA}: table heartbeat", f"INSERT INTO {heartbeat} VALUES (1, now(6))"),
        (
            f"database {SCHEMA}: table signal",
            f"CREATE TABLE {signal} (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048)) "
            "ENGINE = InnoDB",
        ),
        (f"database {SCHEMA}: rights", f"GRANT SELECT, UPDATE ON {heartbeat} TO {user}"),
        (f"database {SCHEMA}: rights", f"GRANT SELECT, INSERT, DELETE ON {signal} TO {user}"),
    ]


def undo_script(source: Source) -> str:
    """For the administrator's client."""
    return f"DROP USER IF EXISTS {_user(source)};\nDROP DATABASE IF EXISTS {quoted(SCHEMA)};\n"


def administrators_script(source: Source, password: str) -> str:
    """What the administrator runs, and how to take it back."""
    lines = [f"-- {touches}\n{do};" for touches, do in statements(source, password)]
    undo = "".join(f"--   {line}\n" for line in undo_script(source).splitlines())
    hashed = (
        "The password is given as its hash only."
        if source.address.kind == "mariadb"
        else "THE PASSWORD STANDS IN IT: keep this text as you would keep the password."
    )
    return (
        f"-- For an administrator of {source.address}. It touches: one user, and a database {SCHEMA} of our own.\n"
        f"-- {hashed}\n"
        + "\n".join(lines)
        + f"\n\n-- To take it back (after `appliance source remove {source.name}`):\n{undo}"
    )
