"""``python -m models.jobs``: the trainer, until SIGTERM."""

from __future__ import annotations

import signal
import sqlite3
import threading

from redis.exceptions import RedisError

from appliance import alive, logs, users
from appliance.clients import redis as redis_clients
from appliance.context import current
from models.jobs.worker import NAME, Worker

_LOOK_SECONDS = 0.5


def main() -> None:
    log = logs.setup(NAME)
    context = current()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker = Worker.of(context)
    with redis_clients.connect(context, users.ADMINISTRATOR) as store:
        while not stop.is_set():
            try:
                worker.tick()
                alive.touch(store, context.names, NAME)
            except (RedisError, OSError, sqlite3.OperationalError) as error:
                log.warning("waiting, then going on", exc_info=error)
            stop.wait(_LOOK_SECONDS)
    worker.stop()


if __name__ == "__main__":
    main()
