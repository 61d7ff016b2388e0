"""The queue of jobs: one SQLite file, ``data/jobs/queue.db``; every change of state is one transaction.

A job is queued → running → done, failed or cancelled. Only the process ``trainer`` (``models.jobs.worker``) runs jobs,
one at a time, in the order in which they were added.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from appliance.errors import ApplianceError
from appliance.parts.base import Context
from models.errors import JobError

State = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
MAX_ATTEMPTS = 2
"""A job whose process is killed is run once more, then it has failed."""
_BUSY_S = 30.0
_TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, model TEXT NOT NULL, asked TEXT NOT NULL, key TEXT NOT NULL,
  state TEXT NOT NULL, queued_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0, cancel INTEGER NOT NULL DEFAULT 0, result TEXT, error TEXT)
"""


class Failure(msgspec.Struct, frozen=True):
    """An error as it is stored with a job; see ``appliance.errors.ApplianceError``."""

    code: str
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: ApplianceError) -> Failure:
        return cls(error.code, error.message, error.hint)


class Job(msgspec.Struct, frozen=True):
    """kind: which function runs it (``models.jobs.kinds``). asked: that function's arguments. Times are µs UTC.

    key: while a job with a key waits or runs, adding one with the same key gives that job. attempts: times started.
    cancel: it is to be cancelled. result: what the function gave.
    """

    id: int
    kind: str
    model: str
    asked: dict[str, Any]
    key: str
    state: State
    queued_at: int
    started_at: int | None
    ended_at: int | None
    attempts: int
    cancel: bool
    result: dict[str, Any] | None
    error: Failure | None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


def _now() -> int:
    return time.time_ns() // 1000


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    for name in ("asked", "result", "error"):
        values[name] = msgspec.json.decode(values[name]) if values[name] else None
    return msgspec.convert(values, Job, strict=False)


class Queue:
    """The jobs in one folder. Any process of the appliance's user may add, look and cancel."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        with self._change() as change:
            change.execute(_TABLE)

    @classmethod
    def of(cls, context: Context) -> Queue:
        return cls(context.data("jobs"))

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other one runs beside."""
        with closing(sqlite3.connect(self.folder / "queue.db", timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def log(self, number: int) -> Path:
        """What the job says while it runs, a line an event."""
        return self.folder / f"{number}.log"

    def add(self, kind: str, model: str, asked: dict[str, Any], key: str = "") -> Job:
        """Queue a job; with a key, the one of that key that waits or runs already, if there is one."""
        with self._change() as change:
            if key:
                same = change.execute(
                    "SELECT * FROM jobs WHERE key = ? AND state IN ('queued', 'running')", (key,)
                ).fetchone()
                if same is not None:
                    return _job(same)
            made = change.execute(
                "INSERT INTO jobs (kind, model, asked, key, state, queued_at) VALUES (?, ?, ?, ?, 'queued', ?)"
                " RETURNING *",
                (kind, model, msgspec.json.encode(asked).decode(), key, _now()),
            ).fetchone()
            return _job(made)

    def get(self, number: int) -> Job:
        """Raises JobError when there is no such job."""
        with self._change() as change:
            row = change.execute("SELECT * FROM jobs WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise JobError("job.unknown", f"there is no job {number}", hint="appliance model jobs")
        return _job(row)

    def latest(self, count: int) -> list[Job]:
        """The newest first."""
        with self._change() as change:
            return [_job(row) for row in change.execute("SELECT * FROM jobs ORDER BY id DESC LIMIT ?", (count,))]

    def cancel(self, number: int) -> Job:
        """A waiting job is cancelled at once, a running one within seconds, by the trainer. Raises JobError."""
        job = self.get(number)
        if job.ended:
            raise JobError("job.ended", f"job {number} has ended: it is {job.state}", hint="appliance model jobs")
        with self._change() as change:
            change.execute("UPDATE jobs SET cancel = 1 WHERE id = ? AND state = 'running'", (number,))
            change.execute(
                "UPDATE jobs SET state = 'cancelled', ended_at = ? WHERE id = ? AND state = 'queued'", (_now(), number)
            )
        return self.get(number)

    # The rest is the trainer's.

    def take(self) -> Job | None:
        """The job whose turn it is, now running; None if none waits."""
        with self._change() as change:
            row = change.execute(
                "UPDATE jobs SET state = 'running', started_at = ?, attempts = attempts + 1 WHERE id ="
                " (SELECT min(id) FROM jobs WHERE state = 'queued') RETURNING *",
                (_now(),),
            ).fetchone()
        return None if row is None else _job(row)

    def done(self, number: int, result: dict[str, Any]) -> None:
        self._end(number, "done", result=msgspec.json.encode(result).decode())

    def failed(self, number: int, failure: Failure) -> None:
        self._end(number, "failed", error=msgspec.json.encode(failure).decode())

    def cancelled(self, number: int) -> None:
        self._end(number, "cancelled")

    def _end(self, number: int, state: State, result: str | None = None, error: str | None = None) -> None:
        with self._change() as change:
            change.execute(
                "UPDATE jobs SET state = ?, ended_at = ?, result = ?, error = ? WHERE id = ? AND state = 'running'",
                (state, _now(), result, error, number),
            )

    def died(self, number: int, why: str) -> Job:
        """Its process is gone without an answer: once more, unless it has had its attempts or is to be cancelled."""
        job = self.get(number)
        if job.cancel:
            self.cancelled(number)
        elif job.attempts >= MAX_ATTEMPTS:
            self.failed(number, Failure("job.died", f"{why}, {job.attempts} times", f"appliance model jobs {number}"))
        else:
            with self._change() as change:
                change.execute("UPDATE jobs SET state = 'queued' WHERE id = ? AND state = 'running'", (number,))
        return self.get(number)

    def put_back(self, number: int) -> None:
        """The trainer stops: the job waits again, and this start does not count."""
        with self._change() as change:
            change.execute(
                "UPDATE jobs SET state = 'queued', attempts = attempts - 1 WHERE id = ? AND state = 'running'",
                (number,),
            )

    def left_running(self) -> list[Job]:
        """Jobs that a trainer which was killed has left."""
        with self._change() as change:
            return [_job(row) for row in change.execute("SELECT * FROM jobs WHERE state = 'running'")]
