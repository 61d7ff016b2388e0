"""The business's applications: random changes, at a rate or as fast as they are let. Imports nothing of ours."""

from __future__ import annotations

import bisect
import io
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

WORKER_IDS = 10**13
"""Each worker makes rows with ids of its own range, and sometimes changes those of another."""

MOVED_IDS = 5 * 10**11
_CHANNELS = "'{web,shop,phone,mail,NULL}'::text[]"
_PAGES = "'{/,/cart,/pay,/help,/über,NULL}'::text[]"
_NOTES = "'{ok,Ok,\"\",zu heiß,low,NULL}'::text[]"

# %(n)s rows, %(w)s the worker's first id, %(next)s its next number, %(now)s the business's time, %(entities)s.
_LATE = (
    "%(now)s::timestamptz - CASE WHEN random() < 0.85 THEN random() * interval '2 hours'"
    " WHEN random() < 0.9 THEN random() * interval '9 days' ELSE random() * interval '-1 hour' END"
)
_TIME = f"(CASE WHEN random() < 0.5 THEN date_trunc('minute', {_LATE}) ELSE {_LATE} END)"
_ENTITY = "(1 + floor(random() * %(entities)s))::bigint"
_NUMBERS = "generate_series(%(next)s::bigint, %(next)s::bigint + %(n)s - 1) AS g"
_INSERTS = {
    "orders": f"INSERT INTO orders SELECT %(w)s + g, {_ENTITY}, {_TIME},"
    " CASE WHEN random() < 0.95 THEN round((random() * 900 - 50)::numeric, 2) END,"
    " CASE WHEN random() < 0.8 THEN floor(random() * 12)::bigint - 2 END,"
    f" ({_CHANNELS})[1 + floor(random() * 5)], CASE WHEN random() < 0.9 THEN random() < 0.4 END FROM {_NUMBERS}",
    "visits": f"INSERT INTO visits SELECT 'v' || (%(w)s + g), 's' || {_ENTITY} %% 7,"
    f" {_ENTITY} %% (%(entities)s / 5 + 1), {_TIME} AT TIME ZONE 'UTC',"
    " CASE WHEN random() < 0.9 THEN round((random() * 1000)::numeric, 3)::float8 END,"
    f" ({_PAGES})[1 + floor(random() * 6)], CASE WHEN random() < 0.8 THEN random() < 0.5 END,"
    f" round((random() * 20)::numeric, CASE WHEN random() < 0.5 THEN 0 ELSE 4 END) FROM {_NUMBERS}",
    "readings": f"INSERT INTO readings SELECT %(w)s + g, 'd-' || {_ENTITY}, {_TIME},"
    " CASE WHEN random() < 0.9 THEN round((random() * 200 - 100)::numeric, 3) END,"
    " CASE WHEN random() < 0.9 THEN floor(random() * 9)::bigint END, CASE WHEN random() < 0.9 THEN random() < 0.2 END,"
    f" ({_NOTES})[1 + floor(random() * 6)] FROM {_NUMBERS}",
}
_PICKED = (
    "(SELECT %(w)s + floor(%(next)s * CASE WHEN random() < 0.5 THEN random() ELSE 1 - random() ^ 6 / 2 END)::bigint"
    " FROM generate_series(1, %(n)s))"
)
_WHERE = {
    "orders": f"id IN {_PICKED}",
    "visits": f"id IN (SELECT 'v' || p FROM {_PICKED} AS picked(p))",
    "readings": f"id IN {_PICKED}",
}
_SETS = {
    "orders": (
        "amount = CASE WHEN random() < 0.9 THEN round((random() * 900)::numeric, 2) END",
        "quantity = CASE WHEN random() < 0.8 THEN floor(random() * 12)::bigint END, express = NOT express",
        f"customer = {_ENTITY}",
        f"placed_at = {_TIME}",
        f"customer = {_ENTITY}, placed_at = placed_at + (random() - 0.5) * interval '1 day', channel = 'moved'",
        "amount = amount",
        f"id = id + {MOVED_IDS}",
    ),
    "visits": (
        "seconds = CASE WHEN random() < 0.9 THEN round((random() * 1000)::numeric, 3)::float8 END",
        "ok = CASE WHEN random() < 0.8 THEN random() < 0.5 END, page = '/changed'",
        f"site = 's' || {_ENTITY} %% 7",
        f"visitor = {_ENTITY} %% (%(entities)s / 5 + 1)",
        f"at = {_TIME} AT TIME ZONE 'UTC'",
        "cost = cost",
        "id = id || 'x'",
    ),
    "readings": (
        "value = CASE WHEN random() < 0.9 THEN round((random() * 200 - 100)::numeric, 3) END, fault = NOT fault",
        "code = CASE WHEN random() < 0.9 THEN floor(random() * 9)::bigint END, note = 'changed'",
        f"device = 'd-' || {_ENTITY}",
        f"at = {_TIME}",
        f"device = 'd-' || {_ENTITY}, at = date_trunc('hour', at)",
        "note = note",
        f"id = id + {MOVED_IDS}",
    ),
}
_COPY_COLUMNS: dict[str, Callable[[random.Random, int, int, datetime], tuple[object, ...]]] = {
    "orders": lambda chance, key, entities, at: (
        key, chance.randint(1, entities), at, f"{chance.randint(-5000, 90000) / 100:.2f}", chance.randint(-2, 9),
        chance.choice(("web", "shop", "copied")), chance.random() < 0.4,
    ),
    "readings": lambda chance, key, entities, at: (
        key, f"d-{chance.randint(1, entities)}", at, f"{chance.randint(-100_000, 100_000) / 1000:.3f}",
        chance.randint(0, 8), chance.random() < 0.2, chance.choice(("ok", "copied", "")),
    ),
}  # fmt: skip
_TABLES = ("orders", "visits", "readings")


@dataclass(frozen=True)
class Load:
    """changes: to commit in all. largest: rows of the largest statement. truncates: to sprinkle in.

    begins, ends: the business's time goes from one to the other as changes are made.
    """

    changes: int
    entities: int
    begins: datetime
    ends: datetime
    largest: int = 5_000
    truncates: int = 0
    rate: float | None = None
    seed: int = 1


@dataclass
class Committed:
    """What all workers have committed. log: (WAL position after a commit, changes up to there), in order."""

    changes: int = 0
    transactions: int = 0
    rolled_back: int = 0
    log: list[tuple[int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Worker(threading.Thread):
    """One application. may_go: asked before each transaction, waits while it says no."""

    def __init__(self, address: str, number: int, load: Load, done: Committed, may_go: Callable[[], bool]) -> None:
        super().__init__(daemon=True, name=f"business-{number}")
        self._address, self._load, self._done, self._may_go = address, load, done, may_go
        self._chance = random.Random(load.seed * 1_000 + number)
        self._first = number * WORKER_IDS
        self._next = dict.fromkeys(_TABLES, 1)
        self._truncates = [(k + 1) * load.changes // (load.truncates + 1) for k in range(load.truncates)]
        self.failure: Exception | None = None
        self._truncating = number == 1

    def run(self) -> None:
        try:
            with psycopg.connect(self._address) as connection:
                connection.execute("SELECT setseed(%s)", (self._chance.random(),))
                connection.execute("SET TimeZone = 'UTC'")
                connection.commit()
                began = time.monotonic()
                while self._done.changes < self._load.changes:
                    if not self._may_go() or self._ahead(began):
                        time.sleep(0.01)
                        continue
                    self._transaction(connection)
        except Exception as error:  # noqa: BLE001  # told to the run, which raises it
            self.failure = error

    def _ahead(self, began: float) -> bool:
        rate = self._load.rate
        return rate is not None and self._done.changes > rate * (time.monotonic() - began)

    @property
    def _now(self) -> datetime:
        share = min(1.0, self._done.changes / self._load.changes)
        return self._load.begins + (self._load.ends - self._load.begins) * share

    def _size(self) -> int:
        dice = self._chance.random()
        if dice < 0.5:
            size = self._chance.randint(1, 3)
        elif dice < 0.85:
            size = self._chance.randint(4, 100)
        elif dice < 0.98:
            size = self._chance.randint(100, 1_000)
        else:
            size = self._chance.randint(1_000, 5_000)
        return max(1, min(size, self._load.largest))

    def _transaction(self, connection: psycopg.Connection[Any]) -> None:
        """One to four statements, committed, or rolled back in whole or in part; deadlocks roll back."""
        chance, changed = self._chance, 0
        try:
            for _ in range(chance.choice((1, 1, 1, 2, 3, 4))):
                changed += self._statement(connection)
            if chance.random() < 0.05:
                connection.execute("SAVEPOINT before")
                self._statement(connection)
                connection.execute("ROLLBACK TO SAVEPOINT before")
            if chance.random() < 0.05:
                connection.rollback()
                with self._done.lock:
                    self._done.rolled_back += 1
                return
            connection.commit()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.UniqueViolation):
            connection.rollback()
            with self._done.lock:
                self._done.rolled_back += 1
            return
        with self._done.lock:
            self._done.changes += changed
            self._done.transactions += 1
            committed = self._done.changes
        row = connection.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
        connection.commit()
        with self._done.lock:
            bisect.insort(self._done.log, (int(row[0]) if row else 0, committed))

    def _statement(self, connection: psycopg.Connection[Any]) -> int:
        """Run one; returns how many rows it changed."""
        chance, table = self._chance, self._chance.choice(_TABLES)
        if self._truncating and self._truncates and self._done.changes >= self._truncates[0]:
            self._truncates.pop(0)
            connection.execute(f"TRUNCATE {table}".encode())
            return 1
        size, dice = self._size(), chance.random()
        values = {
            "n": size,
            "w": self._first,
            "next": self._next[table],
            "now": self._now,
            "entities": self._load.entities,
        }
        if dice < 0.5 or self._next[table] < 20:
            self._next[table] += size
            if dice < 0.04 and table in _COPY_COLUMNS:
                return self._copy(connection, table, values)
            return connection.execute(_INSERTS[table].encode(), values).rowcount
        if chance.random() < 0.02:  # another application's rows
            values["w"] = WORKER_IDS * chance.randint(1, 2)
        if dice < 0.82:
            change = chance.choice(_SETS[table])
            return connection.execute(f"UPDATE {table} SET {change} WHERE {_WHERE[table]}".encode(), values).rowcount
        return connection.execute(f"DELETE FROM {table} WHERE {_WHERE[table]}".encode(), values).rowcount

    def _copy(self, connection: psycopg.Connection[Any], table: str, values: dict[str, Any]) -> int:
        """Many rows in one record of the write-ahead log."""
        text = io.StringIO()
        for number in range(values["next"], values["next"] + values["n"]):
            at = values["now"] - timedelta(minutes=self._chance.randint(-30, 3_000))
            row = _COPY_COLUMNS[table](self._chance, self._first + number, self._load.entities, at)
            text.write("\t".join(str(value) for value in row) + "\n")
        with connection.cursor() as cursor:
            with cursor.copy(f"COPY {table} FROM STDIN".encode()) as into:
                into.write(text.getvalue())
            return cursor.rowcount
