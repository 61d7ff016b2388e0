"""Whether a MariaDB or MySQL database is as the connector needs it: each point, with what to do where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from appliance.parts.base import Context
from stream_jobs.errors import SourceError
from stream_jobs.plan import CapturedTable
from stream_jobs.source.binlog_sql import quoted
from stream_jobs.source.check import Check, point, primary_key
from stream_jobs.source.declared import Actual, compare
from stream_jobs.source.record import SCHEMA, Source, Table
from stream_jobs.source.wal import Growth

_OLDEST = {"mariadb": (10, 5), "mysql": (8, 0)}
_CONNECT_SECONDS = 10
_LEAST_KEPT_SECONDS = 2 * 86_400
_HEARTBEAT_BYTES = 300
"""One update of the heartbeat row with its transaction, in row format with whole rows."""
_ACTING = re.compile(r"CONSTRAINT `([^`]+)` FOREIGN KEY .*? ON (?:DELETE|UPDATE) (?:CASCADE|SET NULL|SET DEFAULT)")

_MUST_BE = {
    "log_bin": ("ON", "set log_bin in the server's configuration, then restart it"),
    "binlog_format": ("ROW", "SET GLOBAL binlog_format = 'ROW', and in the server's configuration"),
    "binlog_row_image": ("FULL", "SET GLOBAL binlog_row_image = 'FULL', and in the server's configuration"),
    "binlog_legacy_event_pos": (
        "ON", "set binlog_legacy_event_pos = ON in the server's configuration, then restart it: without it MariaDB "
        "11.4 and newer do not say where in the log a change stands",
    ),
    "log_bin_compress": ("OFF", "SET GLOBAL log_bin_compress = OFF, and in the server's configuration"),
    "binlog_transaction_compression": (
        "OFF", "SET GLOBAL binlog_transaction_compression = OFF, and in the server's configuration: changes of a "
        "compressed transaction all stand at one place of the log",
    ),
    "binlog_row_value_options": ("", "SET GLOBAL binlog_row_value_options = '', and in the server's configuration"),
}  # fmt: skip
"""Variable → value it must have (where the server knows it) and what to do."""
_ALWAYS_KNOWN = ("log_bin", "binlog_format", "binlog_row_image")

Connection = Any  # pymysql has no types


def connect(context: Context, source: Source) -> Connection:
    """As the connector's user. Raises SourceError when the database does not let it in."""
    address = source.address
    encrypted = address.ssl_mode not in ("", "disable", "disabled", "preferred")
    try:
        return pymysql.connect(
            host=address.host, port=address.port, user=address.user, password=context.secrets.get(source.secret),
            connect_timeout=_CONNECT_SECONDS, autocommit=True, charset="utf8mb4", client_flag=CLIENT.MULTI_RESULTS,
            ssl_verify_cert=address.ssl_mode.startswith("verify"), ssl_disabled=not encrypted,
            ssl_verify_identity=address.ssl_mode in ("verify-full", "verify_identity"),
        )  # fmt: skip
    except pymysql.MySQLError as error:
        raise SourceError(
            "source.no_connection", f"{address} does not let user {address.user} in: {error.args[-1]}",
            hint=f"the administrator runs the SQL of `appliance source add {source.name} … --print-sql`, "
            "and the server listens where this machine can reach it (bind_address)",
        ) from error  # fmt: skip


def rows(connection: Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return list(cursor.fetchall())


def now(connection: Connection) -> tuple[str, int]:
    """Binlog file and offset up to which the server has written."""
    ((file, offset, *_),) = rows(connection, _status(connection))
    return file, offset


def _status(connection: Connection) -> str:
    """MySQL 8.4 has another word for it, and no longer the old one."""
    ((version,),) = rows(connection, "SELECT version()")
    old = "mariadb" in version.lower() or int(version.split(".")[0]) < 8 or version.startswith(("8.0", "8.1"))
    return "SHOW MASTER STATUS" if old else "SHOW BINARY LOG STATUS"


def check(connection: Connection, source: Source, declared: Sequence[CapturedTable]) -> list[Check]:
    """Every point, in the order in which an administrator would mend them."""
    return [
        *_server(connection, source),
        *_user(connection, source),
        *(found for table in source.tables for found in _table(connection, source, table)),
        *(found for table in declared for found in compare(table, actual(connection, table.table))),
        *_own_tables(connection),
    ]


def heartbeat_growth(context: Context) -> Growth:
    """More binary log a day."""
    beats = 86_400_000 / context.settings.cdc.heartbeat_interval_ms
    return Growth("heartbeat", round(beats * _HEARTBEAT_BYTES), beats)


def _server(connection: Connection, source: Source) -> Iterator[Check]:
    kind = source.address.kind
    ((text,),) = rows(connection, "SELECT version()")
    yield point(
        "kind of server", "mariadb" if "mariadb" in text.lower() else "mysql", lambda found: found == kind,
        f"give the address as {'mysql' if kind == 'mariadb' else 'mariadb'}://…",
    )  # fmt: skip
    version = tuple(int(number) for number in re.findall(r"\d+", text)[:2])
    least = ".".join(map(str, _OLDEST[kind]))
    yield Check("server version", version >= _OLDEST[kind], text,
                "" if version >= _OLDEST[kind] else f"{kind} {least} or newer is needed")  # fmt: skip
    set_to = {name.lower(): value for name, value in rows(connection, "SHOW GLOBAL VARIABLES")}
    for name, (value, todo) in _MUST_BE.items():
        if name in set_to or name in _ALWAYS_KNOWN:
            found = set_to.get(name, "unknown")
            yield Check(name, found == value, found, "" if found == value else todo)
    yield point(
        "server_id", set_to.get("server_id", "0"), lambda found: found != "0",
        "set server_id to a number that no other server of yours has",
    )  # fmt: skip
    yield _kept(set_to)


def _kept(set_to: dict[str, str]) -> Check:
    """0 means for good."""
    seconds = int(set_to.get("binlog_expire_logs_seconds", 0)) or round(
        float(set_to.get("expire_logs_days", 0)) * 86_400
    )
    return point(
        "seconds that the binary log is kept (0: for good)", seconds,
        lambda found: found == 0 or found >= _LEAST_KEPT_SECONDS,
        f"SET GLOBAL binlog_expire_logs_seconds = {7 * 86_400}, and in the server's configuration: an appliance that "
        "is switched off for longer than the log is kept has to read the tables again",
    )  # fmt: skip


def _user(connection: Connection, source: Source) -> Iterator[Check]:
    grants = " ; ".join(grant for (grant,) in rows(connection, "SHOW GRANTS FOR CURRENT_USER()")).upper()
    everything = "ALL PRIVILEGES ON *.*" in grants
    yield point(
        f"user {source.address.user} may do no more than it needs", not everything, bool,
        f"REVOKE ALL PRIVILEGES ON *.* FROM '{source.address.user}'@'%', then run the SQL of --print-sql",
    )  # fmt: skip
    for right, names in (
        ("REPLICATION SLAVE", ("REPLICATION SLAVE", "REPLICATION REPLICA")),
        ("REPLICATION CLIENT", ("REPLICATION CLIENT", "BINLOG MONITOR")),
        ("RELOAD", ("RELOAD",)),
    ):
        there = everything or any(re.search(rf"\b{name}\b[^;]* ON \*\.\*", grants) for name in names)
        yield point(
            f"user {source.address.user} has {right}", there, bool,
            f"GRANT {right} ON *.* TO '{source.address.user}'@'%'",
        )  # fmt: skip


def _table(connection: Connection, source: Source, table: Table) -> Iterator[Check]:
    schema, _, name = table.name.partition(".")
    found = rows(
        connection,
        "SELECT engine FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
        schema,
        name,
    )
    yield point(
        f"table {table.name}", "there" if found else "missing, or may not be read", lambda there: there == "there",
        f"create {table.name}, or GRANT SELECT ON {table.name} TO '{source.address.user}'@'%', "
        "or leave it out of --tables",
    )  # fmt: skip
    if not found:
        return
    yield point(
        f"engine of {table.name}", found[0][0], lambda engine: engine == "InnoDB",
        f"ALTER TABLE {table.name} ENGINE = InnoDB: another engine has no transactions",
    )  # fmt: skip
    yield primary_key(table.name, actual(connection, table.name).key)
    yield _cascades(connection, table)


def actual(connection: Connection, table: str) -> Actual:
    """The table's columns and key."""
    schema, _, name = table.partition(".")
    where = "WHERE table_schema = %s AND table_name = %s"
    columns = rows(
        connection,
        f"SELECT column_name, column_type FROM information_schema.columns {where} ORDER BY ordinal_position",
        schema, name,
    )  # fmt: skip
    key = rows(
        connection,
        f"SELECT column_name FROM information_schema.statistics {where} AND index_name = 'PRIMARY' "
        "ORDER BY seq_in_index",
        schema, name,
    )  # fmt: skip
    return Actual(dict(columns), tuple(column for (column,) in key))


def _cascades(connection: Connection, table: Table) -> Check:
    """InnoDB does not log what a foreign key's action does to the rows of the table that has the key.

    Read from the table's definition: the schema's own list of constraints is not shown to who may only read.
    """
    ((_, definition),) = rows(connection, f"SHOW CREATE TABLE {quoted(*table.name.split('.'))}")
    acting = _ACTING.findall(definition)
    return Check(
        f"foreign keys of {table.name}", not acting, ", ".join(acting) or "none that changes rows unlogged",
        f"let the application delete and update the rows of {table.name} itself, and make {', '.join(acting)} "
        "ON DELETE RESTRICT ON UPDATE RESTRICT: what a foreign key's action does is not in the binary log"
        if acting else "",
    )  # fmt: skip


def _own_tables(connection: Connection) -> Iterator[Check]:
    for name in ("heartbeat", "signal"):
        there = rows(
            connection,
            "SELECT 1 FROM information_schema.tables WHERE table_schema = %s AND table_name = %s",
            SCHEMA,
            name,
        )
        yield point(f"table {SCHEMA}.{name}", bool(there), bool, "run the SQL of --print-sql")
        if there and name == "heartbeat":
            ((count,),) = rows(connection, f"SELECT count(*) FROM {SCHEMA}.heartbeat WHERE id = 1")
            yield point(
                "heartbeat row", count, lambda found: found == 1, f"INSERT INTO {SCHEMA}.heartbeat VALUES (1, now(6))"
            )
