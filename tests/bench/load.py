"""A process that commits payments and labels to the sample business database at a steady rate, as applications do.

    APPLIANCE_HOME=… python -m tests.bench.load --rate 5000 --seconds 60 --tables transactions,transaction_labels

Rows go to new ids, customers and terminals; event times go on from the appliance clock with the wall clock. The last
line it prints is JSON: rows, commits, seconds, CPU seconds of this process, and by how much it fell behind its rate.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from appliance import context as contexts
from appliance import users
from appliance.clients import postgres, redis
from appliance.clock import Clock

_FIRST_ID = 4_000_000_000
_COLUMNS = {
    "transactions": "transaction_id, tx_datetime, customer_id, terminal_id, tx_amount",
    "transaction_labels": "transaction_id, terminal_id, is_fraud, labelled_at",
}


class Rows:
    """Makes rows. entities: customers, and as many terminals, they are spread over."""

    def __init__(self, connection: psycopg.Connection[Any], entities: int, begins: datetime) -> None:
        self._chance, self._entities = random.Random(3), entities
        self._began, self._begins = time.monotonic(), begins
        row = connection.execute(
            "SELECT greatest((SELECT max(transaction_id) FROM transactions),"
            " (SELECT max(transaction_id) FROM transaction_labels))"
        ).fetchone()
        connection.rollback()
        self._next = max(_FIRST_ID, int(row[0] if row and row[0] else 0)) + 1

    def make(self, table: str) -> tuple[object, ...]:
        chance, number = self._chance, self._next
        self._next += 1
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
    arguments = parser.parse_args()
    context = contexts.current()
    with redis.connect(context, users.ADMINISTRATOR) as store:
        begins = datetime.fromtimestamp(Clock(store, context.names.redis_clock()).now_us() / 1e6, UTC)
    tables: list[str] = arguments.tables.split(",")
    with postgres.sample(context, autocommit=False) as connection:
        rows = Rows(connection, arguments.entities, begins)
        began, cpu, commits, behind = time.monotonic(), time.process_time(), 0, 0.0
        while (elapsed := time.monotonic() - began) < arguments.seconds:
            due = commits * arguments.commit_rows / arguments.rate
            if due > elapsed:
                time.sleep(min(due - elapsed, 0.05))
                continue
            behind = max(behind, elapsed - due)
            _commit(connection, rows, tables[commits % len(tables)], arguments.commit_rows)
            commits += 1
    json.dump(
        {
            "rows": commits * arguments.commit_rows,
            "commits": commits,
            "seconds": round(time.monotonic() - began, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
            "behind_seconds": round(behind, 2),
        },
        sys.stdout,
    )
    sys.stdout.write("\n")
    return 0


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
