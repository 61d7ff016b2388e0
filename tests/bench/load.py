"""A process that commits payments and labels to the sample business database at a steady rate, as applications do.

    APPLIANCE_HOME=… python -m tests.bench.load --rate 5000 --seconds 60 --tables transactions,transaction_labels

Rows go to new ids, customers and terminals; event times go on from the appliance clock with the wall clock. The last
line it prints is JSON: rows, commits, seconds, CPU seconds of this process, and by how much it fell behind its rate.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from appliance import context as contexts
from appliance import users
from appliance.clients import postgres, redis
from appliance.clock import Clock
from appliance.parts.base import Context

_FIRST_ID = 4_000_000_000
_COLUMNS = {
    "transactions": "transaction_id, tx_datetime, customer_id, terminal_id, tx_amount",
    "transaction_labels": "transaction_id, terminal_id, is_fraud, labelled_at",
}


class Rows:
    """Makes rows, for many threads. entities: customers, and as many terminals, they are spread over."""

    def __init__(self, context: Context, entities: int, begins: datetime) -> None:
        self._chance, self._entities = random.Random(3), entities
        self._began, self._begins = time.monotonic(), begins
        with postgres.sample(context) as connection:
            row = connection.execute(
                b"SELECT greatest((SELECT max(transaction_id) FROM transactions),"
                b" (SELECT max(transaction_id) FROM transaction_labels))"
            ).fetchone()
        self._numbers = itertools.count(max(_FIRST_ID, int(row[0] if row and row[0] else 0)) + 1)

    def make(self, table: str) -> tuple[object, ...]:
        chance, number = self._chance, next(self._numbers)
        at = self._begins + timedelta(seconds=time.monotonic() - self._began)
        terminal = 10**9 + int(chance.random() * self._entities)
        if table == "transactions":
            return number, at, 10**9 + int(chance.random() * self._entities), terminal, f"{chance.random() * 200:.2f}"
        return number, terminal, int(chance.random() < 0.01), at


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rate", type=float, required=True, help="rows a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--tables", default="transactions,transaction_labels", help="in turn, one a commit")
    parser.add_argument("--commit-rows", type=int, default=100, help="rows in one transaction (100); 1: an INSERT each")
    parser.add_argument("--entities", type=int, default=20_000, help="customers, and as many terminals (20000)")
    parser.add_argument("--connections", type=int, default=1, help="that commit at the same time (1)")
    arguments = parser.parse_args()
    context = contexts.current()
    with redis.connect(context, users.ADMINISTRATOR) as store:
        begins = datetime.fromtimestamp(Clock(store, context.names.redis_clock()).now_us() / 1e6, UTC)
    rows = Rows(context, arguments.entities, begins)
    began, cpu = time.monotonic(), time.process_time()
    applications = [Application(context, rows, arguments, number) for number in range(arguments.connections)]
    for application in applications:
        application.start()
    for application in applications:
        application.join()
    if failures := [application.failure for application in applications if application.failure]:
        raise failures[0]
    commits = sum(application.commits for application in applications)
    json.dump(
        {
            "rows": commits * arguments.commit_rows,
            "commits": commits,
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "behind_seconds": round(max(application.behind for application in applications), 2),
        },
        sys.stdout,
    )
    sys.stdout.write("\n")
    return 0


class Application(threading.Thread):
    """One of the connections: its share of the commits, at its share of the rate."""

    def __init__(self, context: Context, rows: Rows, arguments: argparse.Namespace, number: int) -> None:
        super().__init__(daemon=True, name=f"application-{number}")
        self._context, self._rows, self._number = context, rows, number
        self._seconds: float = arguments.seconds
        self._every: float = arguments.commit_rows * arguments.connections / arguments.rate
        self._tables: list[str] = arguments.tables.split(",")
        self._commit_rows: int = arguments.commit_rows
        self.commits, self.behind = 0, 0.0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with postgres.sample(self._context, autocommit=False) as connection:
                self._go(connection)
        except Exception as error:  # noqa: BLE001  # told to main, which raises it
            self.failure = error

    def _go(self, connection: psycopg.Connection[Any]) -> None:
        began = time.monotonic()
        while (elapsed := time.monotonic() - began) < self._seconds:
            due = self.commits * self._every
            if due > elapsed:
                time.sleep(min(due - elapsed, 0.05))
                continue
            self.behind = max(self.behind, elapsed - due)
            table = self._tables[(self.commits + self._number) % len(self._tables)]
            _commit(connection, self._rows, table, self._commit_rows)
            self.commits += 1


def _commit(connection: psycopg.Connection[Any], rows: Rows, table: str, count: int) -> None:
    columns = _COLUMNS[table]
    if count == 1:
        made = rows.make(table)
        marks = ", ".join(["%s"] * len(made))
        connection.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})".encode(), made, prepare=True)
    else:
        text = io.StringIO()
        for _ in range(count):
            text.write("\t".join(map(str, rows.make(table))) + "\n")
        with connection.cursor() as cursor, cursor.copy(f"COPY {table} ({columns}) FROM STDIN".encode()) as into:
            into.write(text.getvalue())
    connection.commit()


if __name__ == "__main__":
    sys.exit(main())
