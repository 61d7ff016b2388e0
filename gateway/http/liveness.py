"""Says that the gateway works: a real question to Redis every few seconds, as long as its own page answers."""

from __future__ import annotations

import logging
import threading

import redis

from appliance import alive
from appliance.parts.base import Context

_log = logging.getLogger("gateway")
_SECONDS = 3.0


class Liveness:
    """store: a redis-py client."""

    def __init__(self, context: Context, process: str, store: redis.Redis) -> None:
        self._context, self._process, self._store = context, process, store
        self._stop = threading.Event()

    def run(self) -> None:
        """For a thread of its own; ends with ``close``."""
        while not self._stop.is_set():
            try:
                alive.touch(self._store, self._context.names, self._process)
            except redis.RedisError as error:
                _log.warning("Redis does not answer: %s", error)
            self._stop.wait(_SECONDS)

    def close(self) -> None:
        self._stop.set()
