"""Says to the other scoring processes that the gateway refuses requests, so that they make way for who waits."""

from __future__ import annotations

import logging
import threading
from typing import Any

import redis

from gateway.http.gate import Gate
from gateway.names import Keys

_log = logging.getLogger("gateway")
_LOOK_SECONDS = 0.1
_KEPT_MS = 500


class Pressure:
    """store: a redis-py client."""

    def __init__(self, gate: Gate, store: Any, keys: Keys) -> None:
        self._gate, self._store, self._key = gate, store, keys.pressure()
        self._stop = threading.Event()

    def run(self) -> None:
        """For a thread of its own; ends with ``close``."""
        refused = 0
        while not self._stop.wait(_LOOK_SECONDS):
            if self._gate.refused == refused:
                continue
            refused = self._gate.refused
            try:
                self._store.set(self._key, 1, px=_KEPT_MS)
            except redis.RedisError as error:
                _log.warning("Redis does not answer: %s", error)

    def close(self) -> None:
        self._stop.set()
