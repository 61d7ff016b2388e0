"""The process ``writer-lake``: CDC topics → change tables, prediction topics → ledgers.

Nothing here remembers offsets: each table's own log says which of its topic's records it holds, and reading goes on
after them. So kill -9 at any time neither loses a row nor writes one twice.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import redis
from confluent_kafka import KafkaException

from appliance import alive, context, logs
from appliance.clients import kafka
from appliance.clients import redis as redis_clients
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.batching import Bounds
from stream_jobs.lake import sink
from stream_jobs.lake.records import Broken
from stream_jobs.lake.sink import FLUSH_BYTES
from stream_jobs.lake.topics import DeadLetters, Topics

NAME = "writer-lake"
_BOUNDS = Bounds(smallest=1_000, largest=8_000)
_READ_SECONDS = 0.25
_SAY_SECONDS = 0.5
"""How often, at most, the tables' positions reached are written."""
_LOOK_SECONDS = 5.0
"""How often the plan file and new topics are looked for, and the longest wait after a failure."""

_LOGGER = logging.getLogger(NAME)


class Maintenance:
    """Runs ``stream_jobs.lake.maintenance`` in a process of its own, one at a time, so that its memory goes back."""

    def __init__(self, interval_ms: int) -> None:
        self._interval_seconds = interval_ms / 1000
        self._child: subprocess.Popen[bytes] | None = None
        self._started = time.monotonic()
        self.changed = True

    def tick(self) -> None:
        """Start one when it is time and something was written since the last; log how the last one ended."""
        if self._child is not None:
            code = self._child.poll()
            if code is None:
                return
            if code:
                _LOGGER.error("maintenance of the lake failed", extra={"exit_status": code})
                self.changed = True
            self._child = None
        if self.changed and time.monotonic() - self._started >= self._interval_seconds:
            self._started, self.changed = time.monotonic(), False
            self._child = subprocess.Popen([sys.executable, "-m", "stream_jobs.lake.maintenance"])

    def stop(self) -> None:
        """End a running one: whatever it had not committed is done again by the next."""
        if self._child is not None:
            self._child.terminate()
            self._child.wait()


class Writer:
    """One plan's topics and tables."""

    def __init__(self, context: Context, scenario: plan.Plan) -> None:
        names = context.names
        self._settings = context.settings.lake
        self.sinks = sink.of_plan(scenario, names, context.layout.lake)
        # The library's default would hold 64 MiB of records that wait for us.
        consumer = kafka.consumer(
            context,
            NAME,
            f"{names.tenant}.{NAME}",
            **{"queued.max.messages.kbytes": 16_384, "fetch.max.bytes": 8_388_608},
        )
        self._consumer = consumer
        self._topics = Topics(consumer, self.sinks, _BOUNDS)
        self._dead_letters = DeadLetters(kafka.producer(context, NAME), names, NAME)
        self._looked = self._said = 0.0
        self._unsent: list[Broken] = []

    def step(self) -> bool:
        """Read a batch and commit what is due; True when a table got rows.

        Raises KafkaException and LakeError; rows read so far stay and the next step tries again.
        """
        if time.monotonic() - self._looked >= _LOOK_SECONDS:
            self._unsent += self._topics.assign()
            self._looked = time.monotonic()
        if not self._unsent and not self._full():
            for topic, records in self._topics.read(_READ_SECONDS).items():
                self._unsent += self.sinks[topic].add(records)
        if self._unsent:
            for broken in self._unsent:
                _LOGGER.warning("record put aside", exc_info=broken.error)
            self._dead_letters.send(self._unsent)
            self._unsent = []
        return self.flush(everything=False)

    def _full(self) -> bool:
        """Whether rows pile up because a table cannot be written."""
        most = 2 * self._settings.flush_rows
        return any(each.rows >= most or each.bytes >= 2 * FLUSH_BYTES for each in self.sinks.values())

    def flush(self, everything: bool) -> bool:
        wrote = False
        for topic, each in self.sinks.items():
            if everything or each.due(self._settings.flush_rows, self._settings.flush_interval_ms):
                wrote = wrote or each.rows > 0
                self._topics.tell(topic, each.flush())
                each.say_reached()
        if time.monotonic() - self._said >= _SAY_SECONDS:
            self._said = time.monotonic()
            for each in self.sinks.values():
                each.say_reached()
        return wrote

    def close(self) -> None:
        """Commit what was read, unless broken records of it are still to be put aside."""
        if not self._unsent:
            self.flush(everything=True)
        self._consumer.close()


def run(context: Context, stopping: threading.Event) -> None:
    """Until ``stopping``: follow the plan file, write, and wait (at most 5 s) when Kafka or the disk is away."""
    store = redis_clients.connect(context, NAME)
    maintenance = Maintenance(context.settings.lake.state_interval_ms)
    path = context.layout.plan_file
    writer: Writer | None = None
    followed = looked = 0.0
    wait = 0.1
    while not stopping.is_set():
        try:
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                if (changed := _changed_at(path)) != followed:
                    if writer is not None:
                        writer.close()
                        writer = None
                    writer, followed = Writer(context, plan.read(path)), changed
                    _LOGGER.info("following the plan", extra={"topics": sorted(writer.sinks)})
            if writer is None:
                stopping.wait(1.0)
            elif writer.step():
                maintenance.changed = True
            maintenance.tick()
            alive.touch(store, context.names, NAME)
            wait = 0.1
        except (ApplianceError, KafkaException, redis.RedisError, OSError) as error:
            _LOGGER.error("waiting, then going on", exc_info=error, extra={"wait_seconds": wait})
            stopping.wait(wait)
            wait = min(wait * 2, _LOOK_SECONDS)
    maintenance.stop()
    if writer is not None:
        writer.close()


def _changed_at(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def main() -> None:
    logs.setup(NAME)
    stopping = threading.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stopping.set())
    run(context.current(), stopping)


if __name__ == "__main__":
    main()
