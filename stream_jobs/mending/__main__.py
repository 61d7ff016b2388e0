"""``python -m stream_jobs.mending``: the process ``mender``. Finds lost logs, works on mends, checks the sources."""

from __future__ import annotations

import logging
import signal
import threading
import time

import duckdb
import psycopg
import pymysql
import redis as redis_client
from confluent_kafka import KafkaException

from appliance import alive, logs
from appliance.clients import redis
from appliance.context import current
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs.mending import lost, mends, resnapshot, work
from stream_jobs.mending.mends import Mend
from stream_jobs.mending.work import NAME, Work
from stream_jobs.source import watch

_STEP_SECONDS = 0.5
_LOOK_SECONDS = 5.0
_LOGGER = logging.getLogger(NAME)
_FAILURES = (
    ApplianceError, KafkaException, duckdb.Error, psycopg.Error, pymysql.Error, redis_client.RedisError, OSError,
    BufferError,
)  # fmt: skip


class _Mender:
    def __init__(self, context: Context) -> None:
        self._context, self._store = context, redis.connect(context, NAME)
        self._work = Work(context, self._touch)
        self._failing: dict[str, float] = {}
        self._looked = -_LOOK_SECONDS
        self._checked = time.monotonic()

    def _touch(self) -> None:
        alive.touch(self._store, self._context.names, NAME)

    def round(self) -> None:
        """Look for lost logs and check the sources now and then, and take every mend as far as it goes.

        Raises what ``_FAILURES`` names.
        """
        self._touch()
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._looked = time.monotonic()
            lost.look(self._context, self._failing)
        if time.monotonic() - self._checked > watch.EVERY_SECONDS:
            self._checked = time.monotonic()
            watch.look(self._context, self._touch)
        for mend in mends.unfinished(self._context):
            try:
                self._step(mend)
            except _FAILURES as error:
                _LOGGER.warning("%s waits", mend.id, exc_info=error, extra={"step": mend.step})
            self._touch()

    def _step(self, mend: Mend) -> None:
        match mend.kind, mend.step:
            case "truncate", _:
                work.truncate(self._work, mend)
            case "lost", "reset":
                lost.reset(self._work, mend)
            case "lost", "snapshot":
                lost.snapshot(self._work, mend, self._failing)
            case "lost", _:
                lost.compare_all(self._work, mend)
            case "resnapshot", "signal":
                resnapshot.signal(self._work, mend)
            case "resnapshot", "snapshot":
                resnapshot.snapshot(self._work, mend)
            case "resnapshot", "hold":
                resnapshot.hold(self._work, mend)
            case _:
                work.resnapshot_compare(self._work, mend)


def main() -> None:
    """Runs until told to stop. What is away is waited for."""
    logs.setup(NAME)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    mender = _Mender(current())
    while not stop.wait(_STEP_SECONDS):
        try:
            mender.round()
        except _FAILURES as error:
            _LOGGER.warning("waiting", exc_info=error)
            stop.wait(1.0)
    _LOGGER.info("stopped")


if __name__ == "__main__":
    main()
