"""The customer's side of an end-to-end test: commits to the sample business database, and nothing else."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import psycopg

from appliance.clients import postgres
from appliance.parts.base import Context

INSERT = (
    "insert into transactions (transaction_id, tx_datetime, customer_id, terminal_id, tx_amount)"
    " values (%s, %s, %s, %s, %s)"
)

_GAP = 1_000_000
"""Numbers begin with the clock's microseconds, so that a number whose row was deleted is never given again; tests that
number their own payments from the clock stay below."""


@dataclass
class Payments:
    """Makes payments of customers and at terminals that exist, after every payment that is there."""

    context: Context
    seed: int = 7
    _random: random.Random = field(init=False)
    _next: Iterator[int] = field(init=False)
    _customers: list[int] = field(init=False)
    _terminals: list[int] = field(init=False)
    _last: datetime = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        with postgres.sample(self.context) as database:
            row = database.execute("select max(transaction_id), max(tx_datetime) from transactions").fetchone()
            assert row is not None and isinstance(row[0], int) and isinstance(row[1], datetime)
            self._next = itertools.count(max(row[0], time.time_ns() // 1000) + _GAP)
            self._last = row[1].astimezone(UTC)
            self._customers = [int(str(r[0])) for r in database.execute("select customer_id from customers").fetchall()]
            self._terminals = [int(str(r[0])) for r in database.execute("select terminal_id from terminals").fetchall()]

    def make(self, amount: float | None = None) -> tuple[int, datetime, int, int, float]:
        """One payment's columns in the order of the table, a second after the one before."""
        self._last += timedelta(seconds=1)
        return (
            next(self._next),
            self._last,
            self._random.choice(self._customers),
            self._random.choice(self._terminals),
            amount if amount is not None else round(self._random.uniform(5, 120), 2),
        )


@contextmanager
def committing(context: Context, payments: Payments, per_second: float) -> Iterator[list[int]]:
    """Commit payments one by one in a thread until the block ends; yields the growing list of committed ids.

    A commit that fails because the database is away is tried again with the same id, as an application would.
    """
    committed: list[int] = []
    stop = threading.Event()

    def run() -> None:
        database: psycopg.Connection[tuple[object, ...]] | None = None
        while not stop.is_set():
            payment = payments.make()
            while True:
                try:
                    database = database or postgres.sample(context)
                    database.execute(INSERT, payment)
                    break
                except psycopg.errors.UniqueViolation:
                    break
                except psycopg.OperationalError:
                    database = None
                    if stop.is_set():
                        return
                    time.sleep(0.5)
            committed.append(payment[0])
            time.sleep(1 / per_second)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield committed
    finally:
        stop.set()
        thread.join(timeout=30)
