"""What our PostgreSQL and the sample database share: a cluster of Debian's PostgreSQL 15, passwords on every road."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from appliance.clients import postgres as clients
from appliance.errors import NotReadyError, PartError
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port
from appliance.supervisor import write_private

_BIN = Path("/usr/lib/postgresql/15/bin")

_ACCESS = """\
# type  database  user  address       method
local   all       all                 scram-sha-256
host    all       all   127.0.0.1/32  scram-sha-256
"""


class PostgresServer(BasePart):
    """Ready when a row can be written. ``listens`` and ``superuser_secret`` tell the two clusters apart."""

    name: str
    listens: Port
    superuser_secret: str
    ready_timeout_seconds = 300

    def options(self, context: Context) -> Mapping[str, str]:
        """Settings of ``postgresql.conf`` beyond the common ones, as they are written there."""
        return {}

    def prepare(self, context: Context) -> None:
        cluster, folder = context.data(self.name) / "cluster", context.run(self.name)
        if not cluster.exists():
            self._create(context, cluster)
        write_private(folder / "pg_hba.conf", _ACCESS)
        write_private(folder / "pg_ident.conf", "")
        options = {
            "data_directory": f"'{cluster}'",
            "hba_file": f"'{folder / 'pg_hba.conf'}'",
            "ident_file": f"'{folder / 'pg_ident.conf'}'",
            "unix_socket_directories": f"'{folder}'",
            "unix_socket_permissions": "0700",
            "listen_addresses": "'127.0.0.1'",
            "port": str(context.port(self.listens)),
            "password_encryption": "'scram-sha-256'",
            "timezone": "'UTC'",
            "log_timezone": "'UTC'",
            "log_line_prefix": "'%m [%p] %q%u@%d '",
            "shared_buffers": f"{context.settings.memory.postgres_shared_buffers_mib}MB",
            "max_connections": "60",
            **self.options(context),
        }
        write_private(folder / "postgresql.conf", "".join(f"{key} = {value}\n" for key, value in options.items()))

    def _create(self, context: Context, cluster: Path) -> None:
        """Run initdb beside the final place, then move it there in one step."""
        new, password = cluster.with_name("cluster.new"), context.run(self.name) / "password"
        shutil.rmtree(new, ignore_errors=True)
        write_private(password, context.secrets.get(self.superuser_secret) + "\n")
        command = [
            str(_BIN / "initdb"), "--pgdata", str(new), "--username", "postgres", "--pwfile", str(password),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums",
        ]  # fmt: skip
        ended = subprocess.run(
            command,
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
        )
        password.unlink()
        if ended.returncode:
            raise PartError(
                "postgres.initdb",
                f"initdb of {cluster} failed (status {ended.returncode}): {ended.stderr.strip()[-800:]}",
                hint="df -h; the folder needs about 50 MiB",
            )  # fmt: skip
        new.rename(cluster)

    def process(self, context: Context) -> Process:
        """SIGINT is PostgreSQL's fast shutdown: sessions are ended, nothing is lost."""
        configuration = context.run(self.name) / "postgresql.conf"
        return Process(
            (str(_BIN / "postgres"), "-c", f"config_file={configuration}"),
            directory=context.data(self.name), stop_signal=signal.SIGINT, stop_wait_seconds=60,
        )  # fmt: skip

    def administer(self, context: Context, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection as superuser."""
        return clients.connect(
            context, port=self.listens, database=database, role="postgres", secret=self.superuser_secret
        )

    def ready(self, context: Context) -> None:
        """Write a row in the maintenance database, so that no other database is touched."""
        try:
            with self.administer(context) as connection:
                connection.execute("SET statement_timeout = '4s'; SET client_min_messages = error")
                connection.execute("CREATE TABLE IF NOT EXISTS readiness (id int PRIMARY KEY, at timestamptz NOT NULL)")
                connection.execute("INSERT INTO readiness VALUES (1, now()) ON CONFLICT (id) DO UPDATE SET at = now()")
        except psycopg.Error as error:
            message = f"{self.name} does not take a write: {_first_line(error)}"
            raise NotReadyError("postgres.not_ready", message) from error

    def role(self, connection: psycopg.Connection[Any], name: str, password: str) -> None:
        """Create a role that may log in, or give it this password. The password is hashed before it is sent."""
        hashed = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
        verb = sql.SQL("ALTER ROLE" if exists else "CREATE ROLE")
        connection.execute(sql.SQL("{} {} LOGIN PASSWORD {}").format(verb, sql.Identifier(name), sql.Literal(hashed)))

    def database(self, connection: psycopg.Connection[Any], name: str, owner: str) -> None:
        """Create a database that only its owner may enter, unless it exists."""
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            names = (sql.Identifier(name), sql.Identifier(owner))
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(*names))
            connection.execute(sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(names[0]))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
