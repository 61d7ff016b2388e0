"""MariaDB and MySQL as sources (``stream_jobs.source.database``)."""

from __future__ import annotations

import platform
import zlib
from collections.abc import Sequence

from appliance import position
from appliance.clients import connect, kafka
from appliance.parts.base import Context
from appliance.records import ChangeSource
from stream_jobs.plan import CapturedTable
from stream_jobs.source import binlog_checks, binlog_sql
from stream_jobs.source.check import Check
from stream_jobs.source.former import highest
from stream_jobs.source.record import SCHEMA, Address, Source
from stream_jobs.source.wal import Growth

_CLASSES = {
    "mariadb": "io.debezium.connector.mariadb.MariaDbConnector",
    "mysql": "io.debezium.connector.mysql.MySqlConnector",
}
_PLAIN = {"mariadb": "disable", "mysql": "preferred"}
_SPARE_FILES = 1000
"""More than the server can have filled between the last heartbeat and the end of what was read."""
_HISTORY = "schema.history.internal."


class Binlog:
    """Row events of the binary log, read as a replica would."""

    def qualified(self, address: Address, table: str) -> str:
        return table if "." in table else f"{address.database}.{table}"

    def inspect(
        self, context: Context, source: Source, declared: Sequence[CapturedTable]
    ) -> tuple[list[Check], list[Growth]]:
        """The log already holds whole rows: nothing but the heartbeat is written because of us."""
        with binlog_checks.connect(context, source) as connection:
            checks = binlog_checks.check(connection, source, declared)
        return checks, [binlog_checks.heartbeat_growth(context)]

    def script(self, source: Source, password: str) -> str:
        return binlog_sql.administrators_script(source, password)

    def undo_script(self, source: Source) -> str:
        return binlog_sql.undo_script(source)

    def topics(self, context: Context, source: Source) -> dict[str, dict[str, str]]:
        """The history of the tables' definitions: one partition, kept for good, else no old event could be read."""
        return {
            context.names.schema_history(source.name): {
                "partitions": "1", "cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1",
            }
        }  # fmt: skip

    def config(self, context: Context, source: Source, tables: list[str]) -> dict[str, str]:
        address, history = source.address, context.names.schema_history(source.name)
        login = {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.jaas.config": connect.login(context),
        }
        return {
            "connector.class": _CLASSES[address.kind],
            "database.hostname": address.host,
            "database.port": str(address.port),
            "database.user": address.user,
            "database.password": connect.secret(context, source.secret),
            "database.ssl.mode": address.ssl_mode or _PLAIN[address.kind],
            "database.server.id": str(server_id(context, source)),
            "database.include.list": ",".join(sorted({table.partition(".")[0] for table in tables})),
            "table.include.list": ",".join(table.replace(".", "\\.") for table in tables),
            "heartbeat.action.query": f"UPDATE {SCHEMA}.heartbeat SET at = now(6) WHERE id = 1",
            "include.schema.changes": "false",
            "snapshot.locking.mode": "minimal",
            "converters": "boolean",
            "boolean.type": "io.debezium.connector.binlog.converters.TinyIntOneToBooleanConverter",
            f"{_HISTORY}kafka.bootstrap.servers": kafka.bootstrap(context),
            f"{_HISTORY}kafka.topic": history,
            f"{_HISTORY}store.only.captured.tables.ddl": "true",
            f"{_HISTORY}consumer.group.id": history,
            **{f"{_HISTORY}{of}.{key}": value for of in ("producer", "consumer") for key, value in login.items()},
        }

    def base(self, context: Context, source: Source) -> int:
        """0 while the server counts its files on; else so many that the next file is above the last one read."""
        former = highest(context, source)
        with binlog_checks.connect(context, source) as connection:
            file, offset = binlog_checks.now(connection)
        if former is None or position.of(ChangeSource(file=file, pos=offset, row=0)) > former:
            return 0
        return int(former[:8], 16) + _SPARE_FILES

    def release(self, context: Context, source: Source) -> None:
        """Nothing: a reader of a binary log leaves no trace in the server."""


def server_id(context: Context, source: Source) -> int:
    """The connector's own number among the server's replicas: always the same, another on each machine and home."""
    place = f"{platform.node()} {context.layout.data} {source.name}"
    return 1_000_000_000 + zlib.crc32(place.encode()) % 1_000_000_000
