"""The sample business database: a second PostgreSQL that stands for the customer's."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.parts.base import Context
from appliance.parts.postgres_server import PostgresServer
from appliance.ports import Port


class SampleDatabase(PostgresServer):
    """Database ``bank``, owned by its application's role ``bank_app``; logical decoding is on, as CDC needs it."""

    name = "sample-db"
    listens = Port.SAMPLE_DB
    superuser_secret = "sampledb.postgres"

    def options(self, context: Context) -> Mapping[str, str]:
        return {
            "wal_level": "logical",
            "max_wal_senders": "8",
            "max_replication_slots": "8",
            "max_slot_wal_keep_size": f"{context.settings.cdc.max_slot_wal_keep_mib}MB",
        }

    def provision(self, context: Context) -> None:
        with self.administer(context) as connection:
            self.role(connection, "bank_app", context.secrets.get("sampledb.bank_app"))
            self.database(connection, "bank", "bank_app")
