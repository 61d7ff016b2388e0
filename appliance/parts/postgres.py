"""The appliance's own PostgreSQL: its records, and Feast's registry."""

from __future__ import annotations

from appliance.parts.base import Context
from appliance.parts.postgres_server import PostgresServer
from appliance.ports import Port


class Postgres(PostgresServer):
    """Databases ``appliance`` and ``feast``, each with an owner of the same name."""

    name = "postgres"
    listens = Port.POSTGRES
    superuser_secret = "postgres.postgres"

    def provision(self, context: Context) -> None:
        with self.administer(context) as connection:
            for owner in ("appliance", "feast"):
                self.role(connection, owner, context.secrets.get(f"postgres.{owner}"))
                self.database(connection, owner, owner)
