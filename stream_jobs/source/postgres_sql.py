"""The SQL that a PostgreSQL administrator runs for us, and the SQL that takes it back."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from stream_jobs.source.record import SCHEMA, Source
from stream_jobs.source.scram import verifier


@dataclass(frozen=True)
class Statement:
    """touches: what of the database it touches, for people. undo: empty where a later undo covers it."""

    touches: str
    do: str
    undo: str = ""


def _text(template: str, *names: sql.Composable) -> str:
    return sql.SQL(template).format(*names).as_string(None)


def _table(name: str) -> sql.Identifier:
    return sql.Identifier(*name.split("."))


def statements(source: Source, password: str) -> list[Statement]:
    """Everything, in the order in which it is run; undone in the opposite order."""
    role, schema = sql.Identifier(source.address.user), sql.Identifier(SCHEMA)
    database, publication = sql.Identifier(source.address.database), sql.Identifier(source.publication)
    heartbeat, signal = sql.Identifier(SCHEMA, "heartbeat"), sql.Identifier(SCHEMA, "signal")
    tables = [_table(table.name) for table in source.tables]
    listed = sql.SQL(", ").join(tables)
    schemas = sql.SQL(", ").join(
        sql.Identifier(name) for name in sorted({table.name.partition(".")[0] for table in source.tables})
    )
    found = [
        Statement(
            f"role {source.address.user}",
            _text("CREATE ROLE {} LOGIN REPLICATION PASSWORD {}", role, sql.Literal(verifier(password))),
            _text("DROP ROLE IF EXISTS {}", role),
        ),
        Statement(
            f"role {source.address.user}: may connect",
            _text("GRANT CONNECT ON DATABASE {} TO {}", database, role),
            _text("REVOKE CONNECT ON DATABASE {} FROM {}", database, role),
        ),
        Statement(
            f"role {source.address.user}: may read the captured tables",
            _text("GRANT USAGE ON SCHEMA {} TO {}", schemas, role),
            _text("REVOKE USAGE ON SCHEMA {} FROM {}", schemas, role),
        ),
        Statement(
            f"role {source.address.user}: may read the captured tables",
            _text("GRANT SELECT ON TABLE {} TO {}", listed, role),
            _text("REVOKE SELECT ON TABLE {} FROM {}", listed, role),
        ),
        Statement(
            f"schema {SCHEMA}",
            _text("CREATE SCHEMA {}", schema),
            _text("DROP SCHEMA IF EXISTS {} CASCADE", schema),
        ),
        Statement(
            f"schema {SCHEMA}: table heartbeat",
            _text("CREATE TABLE {} (id integer PRIMARY KEY, at timestamptz NOT NULL)", heartbeat),
        ),
        Statement(f"schema {SCHEMA}: table heartbeat", _text("INSERT INTO {} VALUES (1, now())", heartbeat)),
        Statement(
            f"schema {SCHEMA}: table signal",
            _text(
                "CREATE TABLE {} (id varchar(42) PRIMARY KEY, type varchar(32) NOT NULL, data varchar(2048))", signal
            ),
        ),
        Statement(f"schema {SCHEMA}: rights", _text("GRANT USAGE ON SCHEMA {} TO {}", schema, role)),
        Statement(f"schema {SCHEMA}: rights", _text("GRANT SELECT, UPDATE ON TABLE {} TO {}", heartbeat, role)),
        Statement(f"schema {SCHEMA}: rights", _text("GRANT SELECT, INSERT, DELETE ON TABLE {} TO {}", signal, role)),
    ]
    found += [
        Statement(
            f"replica identity of {table.name}: the old row goes into the write-ahead log",
            _text("ALTER TABLE {} REPLICA IDENTITY FULL", name),
            _text("ALTER TABLE {} REPLICA IDENTITY ", name) + table.former_identity,
        )
        for table, name in zip(source.tables, tables, strict=True)
        if table.full_identity and table.former_identity != "FULL"
    ]
    found.append(
        Statement(
            f"publication {source.publication}",
            _text("CREATE PUBLICATION {} FOR TABLE {}, {}, {}", publication, listed, heartbeat, signal),
            _text("DROP PUBLICATION IF EXISTS {}", publication),
        )
    )
    return found


def undo(source: Source) -> list[str]:
    """What takes everything back, the slot first (it is the connector's, and holds back write-ahead log)."""
    slot = _text(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = {}",
        sql.Literal(source.publication),
    )
    return [slot, *(each.undo for each in reversed(statements(source, "")) if each.undo)]


def script(lines: list[str]) -> str:
    """One transaction for ``psql``."""
    return "\n".join(["BEGIN;", *(f"{line};" for line in lines), "COMMIT;", ""])


def undo_script(source: Source) -> str:
    """For ``psql``. A slot cannot be dropped in the transaction that did other things, so it stands before it."""
    slot, *rest = undo(source)
    return f"{slot};\n" + script(rest)


def administrators_script(source: Source, password: str) -> str:
    """What the administrator runs: the SQL with what each line touches, and how to take it back."""
    lines = [f"-- {each.touches}\n{each.do};" for each in statements(source, password)]
    undo = "".join(f"--   {line}\n" for line in undo_script(source).splitlines())
    return (
        f"-- For an administrator of {source.address}, in database {source.address.database}. It touches:\n"
        f"-- one role, one publication, one slot (made by the connector), schema {SCHEMA}, and the replica\n"
        "-- identity of tables whose old values matter. The password is given as its hash only.\n"
        "BEGIN;\n" + "\n".join(lines) + "\nCOMMIT;\n\n-- To take it back (after `appliance source remove "
        f"{source.name}`; replica identities return to DEFAULT unless they were seen to be another):\n{undo}"
    )
