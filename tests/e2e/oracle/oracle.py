"""The oracle: plain SQL in the business database. Imports nothing of ours."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

TABLES = ("public.orders", "public.visits", "public.readings")
_HERE = Path(__file__).parent
_DRAIN_SECONDS = 1.0
_DRAIN_CHANGES = 50_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ASK = {
    "orders": "audit.oracle_orders(q.keys[1]::bigint, q.as_of, q.cut)",
    "visits": "audit.oracle_visits(q.keys[1], q.keys[2]::bigint, q.as_of AT TIME ZONE 'UTC', q.cut)",
    "readings": "audit.oracle_readings(q.keys[1], q.as_of, q.cut)",
}
VIEWS = tuple(_ASK)


@dataclass(frozen=True)
class Question:
    """view: orders, visits or readings. keys: the entity's key values as text. as_of: µs UTC.

    cut: position, 32 hex digits.
    """

    view: str
    keys: tuple[str, ...]
    as_of: int
    cut: str


def set_up(address: str) -> None:
    """The business's tables, the audit and its slot (named after the database), in an empty database."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute((_HERE / "business.sql").read_bytes())
        connection.execute((_HERE / "audit.sql").read_bytes())
        connection.execute("SELECT pg_create_logical_replication_slot(current_database() || '_audit', 'test_decoding')")


def streams_from_now(address: str) -> None:
    """What was committed so far is what a first snapshot finds."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE TABLE audit.first_streamed AS SELECT pg_current_wal_insert_lsn() AS lsn")


class Slot:
    """Moves what the slot shows into ``audit.wal`` while the business goes on, so that it holds back no log."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Move the rest, then end. Raises what went wrong."""
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            with psycopg.connect(self._address, autocommit=True) as connection:
                while True:
                    ending = self._stop.is_set()
                    moved = _drain(connection)
                    if ending and not moved:
                        return
                    if moved < _DRAIN_CHANGES:
                        self._stop.wait(_DRAIN_SECONDS)
        except psycopg.Error as error:
            self.failure = error


def _drain(connection: psycopg.Connection[Any]) -> int:
    return connection.execute(
        "INSERT INTO audit.wal (lsn, xid, kind, of_table)"
        " SELECT lsn, xid::text::bigint, CASE WHEN data LIKE 'COMMIT%%' THEN 'C'"
        " ELSE split_part(data, ': ', 2)::\"char\" END,"
        " CASE WHEN data NOT LIKE 'COMMIT%%' THEN split_part(substr(data, 7), ': ', 1) END"
        " FROM pg_logical_slot_get_changes(current_database() || '_audit', NULL, %s,"
        " 'include-xids', '0', 'skip-empty-xacts', '1')"
        " WHERE data NOT LIKE 'BEGIN%%'",
        (_DRAIN_CHANGES,),
    ).rowcount


def prepare(address: str) -> dict[str, int]:
    """Make the oracle's tables once the business is quiet; returns how many changes each table saw.

    Raises AssertionError when triggers and slot do not tell the same story: then there is no oracle.
    """
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("SET work_mem = '256MB'; SET maintenance_work_mem = '256MB'; SET jit = off")
        connection.execute((_HERE / "answers.sql").read_bytes())
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM audit.seen), (SELECT count(*) FROM audit.decoded),"
            " (SELECT count(*) FROM audit.ordered WHERE agrees)"
        ).fetchone()
        assert counts is not None and len(set(counts)) == 1, (
            f"triggers saw {counts[0]} changes, the slot {counts[1]}, and {counts[2]} agree"  # type: ignore[index]
        )
        rows = connection.execute("SELECT of_table, count(*) FROM audit.decoded GROUP BY 1 ORDER BY 1").fetchall()
        return {str(table): int(count) for table, count in rows}


def last_positions(address: str) -> dict[str, str]:
    """Table → position of its last change, once ``prepare`` is done."""
    with psycopg.connect(address, autocommit=True) as connection:
        rows = connection.execute(
            "SELECT d.of_table, coalesce((SELECT max(b.ended) FROM audit.transactions b WHERE b.n < t.n), '0/0')"
            " - '0/0'::pg_lsn, d.lsn - '0/0'::pg_lsn"
            " FROM (SELECT of_table, max(n) AS n FROM audit.decoded GROUP BY 1) l"
            " JOIN audit.decoded d USING (n) JOIN audit.transactions t USING (xid)"
        ).fetchall()
        return {str(table): f"{int(before):016x}{int(own):016x}" for table, before, own in rows}


def cuts(connection: psycopg.Connection[Any], positions: Sequence[str]) -> dict[str, int]:
    """Position → the last line of ``audit.wal`` that it covers."""
    halves = [[f"{p[:8]}/{p[8:16]}", f"{p[16:24]}/{p[24:]}"] for p in positions]
    rows = connection.execute(
        "SELECT place, audit.cut(c::pg_lsn, o::pg_lsn)"
        " FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS given(c, o, place)",
        ([c for c, _ in halves], [o for _, o in halves]),
    ).fetchall()
    return {positions[place - 1]: int(cut) for place, cut in rows}


def answers(address: str, questions: Sequence[Question]) -> Iterator[dict[str, Any]]:
    """The values of each question's features, in their order. Numbers are exact decimals read as the nearest float."""
    with psycopg.connect(address) as connection:
        connection.execute("SET work_mem = '64MB'; SET jit = off; SET TimeZone = 'UTC'")
        known = cuts(connection, sorted({question.cut for question in questions}))
        connection.execute(
            "CREATE TEMP TABLE questions (id int PRIMARY KEY, view text, keys text[], as_of timestamptz, cut bigint)"
        )
        with connection.cursor() as cursor:
            with cursor.copy("COPY questions FROM STDIN") as into:
                for number, each in enumerate(questions):
                    at = _EPOCH + timedelta(microseconds=each.as_of)
                    into.write_row((number, each.view, list(each.keys), at, known[each.cut]))
            cursor.execute("ANALYZE questions")
        found: dict[int, dict[str, Any]] = {}
        for view, ask in _ASK.items():
            rows = connection.execute(f"SELECT q.id, ({ask})::text FROM questions q WHERE view = %s".encode(), (view,))
            found |= {int(number): json.loads(values) for number, values in rows}
    for number in range(len(questions)):
        yield found[number]


def same(one: Any, other: Any, within: float = 1e-9) -> bool:
    """Counts, texts and nulls equal, numbers within 1e-9 of each other (relative above 1)."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return bool(one == other)
    return abs(float(one) - float(other)) <= within * max(1.0, abs(float(one)))


def wait_quiet(address: str, seconds: float) -> None:
    """Until no transaction of another session is open."""
    limit = time.monotonic() + seconds
    with psycopg.connect(address, autocommit=True) as connection:
        while time.monotonic() < limit:
            row = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            ).fetchone()
            if row is not None and row[0] == 0:
                return
            time.sleep(0.2)
    raise AssertionError(f"the business is not quiet after {seconds} s")
