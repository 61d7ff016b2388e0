"""Predictions of the API on their way to Kafka, and request ids on their way to Redis: written once, never lost.

An entry is in the spool before its caller is answered. A thread reads the spool and produces; what Kafka has
acknowledged and Redis has noted is done. While Kafka does not acknowledge, an entry is on the disk itself before its
caller is answered. After a crash what was not noted as done is produced again, with the same prediction ids.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import redis
from confluent_kafka import KafkaException, Producer

from gateway.errors import PartDownError
from gateway.ledger.spool import Place, Spool, SpoolFullError

_log = logging.getLogger("gateway")
_LOOK_SECONDS = 0.01
_IDLE_SECONDS = 0.2
_AWAY_SECONDS = 1.0
_SYNC_SECONDS = 0.1
_AGAIN_SECONDS = 1.0
_MOST_RECORDS = 20_000
_CLOSE_SECONDS = 5.0


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What one request leaves behind. records: (topic, key, value). memory: its request id's Redis key and value."""

    records: list[tuple[str, bytes, bytes]]
    memory: tuple[str, bytes] | None = None


@dataclass
class _Sent:
    """An entry on its way. place: behind it. records: how many it has. left: acknowledgements and notes to come."""

    place: Place
    records: int
    left: int
    since: float
    error: Any = None

    def __call__(self, error: Any, message: Any) -> None:
        """Kafka's answer for one record."""
        self.left -= 1
        self.error = self.error or error


class Ledger:
    """producer: makes an idempotent Kafka producer that never gives a record up. store: a redis-py client.

    memory_seconds: how long a request id is remembered. Any thread may write.
    """

    def __init__(self, spool: Spool, producer: Callable[[], Producer], store: Any, memory_seconds: int) -> None:
        self._spool, self._make, self._store, self._memory_seconds = spool, producer, store, memory_seconds
        self._encode, self._decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(Entry).decode
        self._memory: dict[str, bytes] = {}
        self._notes: list[tuple[str, bytes, _Sent]] = []
        self._way: deque[_Sent] = deque()
        self._records = 0
        self._sent = spool.done
        self._not_before = self._synced_at = 0.0
        for raw, _ in spool.read(spool.done):
            if memory := self._decode(raw).memory:
                self._memory[memory[0]] = memory[1]
        self._wake, self._stop = threading.Event(), threading.Event()
        self._producer = producer()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """What is in the spool and not yet in Kafka."""
        return self._spool.waiting_bytes

    @property
    def oldest_seconds(self) -> float:
        """For how long the oldest entry has been on its way."""
        way = self._way
        try:
            return time.monotonic() - way[0].since
        except IndexError:
            return 0.0

    def write(self, entries: Sequence[Entry]) -> None:
        """Returns once the entries cannot be lost any more. Raises PartDownError when the spool does not take them."""
        for entry in entries:
            if entry.memory:
                self._memory[entry.memory[0]] = entry.memory[1]
        try:
            self._spool.append([self._encode(entry) for entry in entries], sync=self.oldest_seconds > _AWAY_SECONDS)
        except (SpoolFullError, OSError) as error:
            for entry in entries:
                if entry.memory:
                    self._memory.pop(entry.memory[0], None)
            cause = "its file has no room left, and Kafka takes nothing" if isinstance(error, SpoolFullError) else error
            raise PartDownError("ledger", cause) from error
        self._wake.set()

    def remembered(self, key: str) -> bytes | None:
        """What a request id's key will hold, as long as Redis has not noted it."""
        return self._memory.get(key)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.wait(_LOOK_SECONDS if self._way else _IDLE_SECONDS)
            self._wake.clear()
            self._step()
            time.sleep(_LOOK_SECONDS)  # what comes meanwhile goes together

    def _step(self) -> None:
        try:
            if time.monotonic() >= self._not_before:
                self._send()
                self._note()
            self._producer.poll(0)
            self._advance()
        except KafkaException as error:
            self._begin_again(error)
        except (redis.RedisError, OSError) as error:
            _log.warning("predictions wait in the spool: %s", error)
            self._not_before = time.monotonic() + _AGAIN_SECONDS

    def _send(self) -> None:
        if self._sent == self._spool.end:
            return
        for raw, place in self._spool.read(self._sent):
            if self._records >= _MOST_RECORDS:
                return
            entry = self._decode(raw)
            records = len(entry.records)
            sent = _Sent(place, records, records + (entry.memory is not None), time.monotonic())
            self._way.append(sent)
            self._records += records
            self._sent = place
            if entry.memory:
                self._notes.append((*entry.memory, sent))
            for topic, key, value in entry.records:
                self._produce(topic, key, value, sent)

    def _produce(self, topic: str, key: bytes, value: bytes, sent: _Sent) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, on_delivery=sent)
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def _note(self) -> None:
        """Let Redis remember request ids."""
        notes = self._notes
        if not notes:
            return
        pipe = self._store.pipeline(transaction=False)
        for key, value, _ in notes:
            pipe.set(key, value, ex=self._memory_seconds)
        pipe.execute()
        self._notes = []
        for key, value, sent in notes:
            sent.left -= 1
            if self._memory.get(key) == value:
                del self._memory[key]

    def _advance(self) -> None:
        """Note what is done; begin again with what Kafka refused; put what waits on the disk."""
        done = None
        while self._way and self._way[0].left == 0 and self._way[0].error is None:
            sent = self._way.popleft()
            self._records -= sent.records
            done = sent.place
        if done is not None:
            self._spool.finish(done)
            self._sent = max(self._sent, self._spool.done)
        if self._way and self._way[0].error is not None:
            self._begin_again(self._way[0].error)
        elif self.oldest_seconds > _SYNC_SECONDS and time.monotonic() - self._synced_at > _SYNC_SECONDS:
            self._spool.sync()
            self._synced_at = time.monotonic()

    def _begin_again(self, error: Any) -> None:
        """A producer that has refused a record may not go on; a new one sends everything that is not done."""
        _log.warning("Kafka refused a prediction, which is sent again: %s", error)
        self._producer.purge()
        self._producer.flush(1)
        self._producer = self._make()
        self._way.clear()
        self._notes.clear()
        self._records, self._sent = 0, self._spool.done
        self._not_before = time.monotonic() + _AGAIN_SECONDS

    def close(self) -> None:
        """Send what is still there, for at most 5 s; the next start sends the rest."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._spool.done < self._spool.end and time.monotonic() < deadline:
            self._step()
            time.sleep(_LOOK_SECONDS)
        self._producer.purge()
        self._producer.flush(1)
        self._spool.close()
