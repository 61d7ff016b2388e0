"""A MariaDB server of a test's own."""

from __future__ import annotations

import pwd
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

_USER = "nobody"
_CONFIGURATION = """[mariadbd]
user={user}
datadir={folder}/data
socket={folder}/socket
pid-file={folder}/pid
tmpdir={folder}
bind-address=127.0.0.1
port={port}
server-id=7
log-bin=mariadb-bin
binlog_format=ROW
binlog_row_image=FULL
default-time-zone=+00:00
innodb_buffer_pool_size=64M
innodb_log_file_size=16M
"""


@dataclass(frozen=True)
class Server:
    """A running server. folder: has its socket, over which ``root`` needs no password."""

    port: int
    folder: Path

    def run(self, script: str) -> list[tuple[Any, ...]]:
        """As root; returns the rows of the first statement."""
        with pymysql.connect(
            unix_socket=str(self.folder / "socket"), user="root", autocommit=True,
            client_flag=CLIENT.MULTI_STATEMENTS,
        ) as connection, connection.cursor() as cursor:  # fmt: skip
            cursor.execute(script)
            found = list(cursor.fetchall())
            while cursor.nextset():
                pass
            return found


@contextmanager
def server() -> Iterator[Server]:
    """Started on a free port with an empty data folder, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="mariadb-", dir="/var/tmp") as name:
        folder = Path(name)
        identity = pwd.getpwnam(_USER)
        subprocess.run(["chown", f"{identity.pw_uid}:{identity.pw_gid}", name], check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        configuration = folder / "my.cnf"
        configuration.write_text(_CONFIGURATION.format(user=_USER, folder=folder, port=port))
        subprocess.run(
            ["mariadb-install-db", f"--defaults-file={configuration}", "--auth-root-authentication-method=normal",
             "--skip-test-db"],
            check=True, capture_output=True,
        )  # fmt: skip
        log = (folder / "log").open("wb")
        process = subprocess.Popen(["/usr/sbin/mariadbd", f"--defaults-file={configuration}"], stdout=log, stderr=log)
        try:
            made = Server(port, folder)
            _wait(made, process)
            yield made
        finally:
            process.terminate()
            process.wait(60)
            log.close()


def _wait(made: Server, process: subprocess.Popen[bytes], seconds: float = 60.0) -> None:
    limit = time.monotonic() + seconds
    while True:
        try:
            made.run("SELECT 1")
        except pymysql.MySQLError:
            if process.poll() is not None or time.monotonic() > limit:
                raise AssertionError((made.folder / "log").read_text()[-2000:]) from None
            time.sleep(0.2)
        else:
            return
