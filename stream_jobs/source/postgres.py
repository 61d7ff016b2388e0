"""PostgreSQL as a source (``stream_jobs.source.database``)."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.clients import connect
from appliance.parts.base import Context
from stream_jobs.errors import SourceError
from stream_jobs.plan import CapturedTable
from stream_jobs.source import postgres_checks, postgres_sql, wal
from stream_jobs.source.check import Check
from stream_jobs.source.former import highest
from stream_jobs.source.record import SCHEMA, Address, Source
from stream_jobs.source.wal import Growth


class Postgres:
    """Logical decoding by ``pgoutput`` from a slot of our own."""

    def qualified(self, address: Address, table: str) -> str:
        return table if "." in table else f"public.{table}"

    def inspect(
        self, context: Context, source: Source, declared: Sequence[CapturedTable]
    ) -> tuple[list[Check], list[Growth]]:
        with postgres_checks.connect(context, source) as connection:
            checks = postgres_checks.check(connection, source, declared)
            good = all(each.ok for each in checks)
            return checks, wal.expected(context, connection, source) if good else []

    def script(self, source: Source, password: str) -> str:
        return postgres_sql.administrators_script(source, password)

    def undo_script(self, source: Source) -> str:
        return postgres_sql.undo_script(source)

    def topics(self, context: Context, source: Source) -> dict[str, dict[str, str]]:
        return {}

    def config(self, context: Context, source: Source, tables: list[str]) -> dict[str, str]:
        address = source.address
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": address.host,
            "database.port": str(address.port),
            "database.dbname": address.database,
            "database.user": address.user,
            "database.password": connect.secret(context, source.secret),
            "database.sslmode": address.ssl_mode or "prefer",
            "plugin.name": "pgoutput",
            "slot.name": source.publication,
            "publication.name": source.publication,
            "publication.autocreate.mode": "disabled",
            "table.include.list": ",".join(table.replace(".", "\\.") for table in tables),
            "heartbeat.action.query": f"UPDATE {SCHEMA}.heartbeat SET at = now() WHERE id = 1",
        }

    def base(self, context: Context, source: Source) -> int:
        """Where the log ends now. Raises SourceError when more was read before: it is not the server it was."""
        now, former = postgres_checks.now(context, source), highest(context, source)
        if former is not None and int(former[:16], 16) > now:
            raise SourceError(
                "source.went_back",
                f"{source.address} has written its log up to LSN {now:x} (hex), and {former[:16]} was read before "
                f"under the name {source.name!r}: it is another server, or one that was restored",
                hint="add it under another name: the order of its changes and of those before cannot be told",
            )  # fmt: skip
        return now

    def release(self, context: Context, source: Source) -> None:
        """Drop the slot, which holds back write-ahead log."""
        with postgres_checks.connect(context, source) as connection:
            connection.execute(postgres_sql.undo(source)[0].encode())
