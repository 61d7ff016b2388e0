"""MGET over a connection of one's own, its answer left as it comes: values are spans of one buffer, no bytes objects.

The connection is redis-py's (address, user, TLS, timeouts, reconnects and retries are those of the given client); only
reading the answer is not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from redis.connection import DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stream_jobs.windows import kernel

_FIRST_BYTES = 1 << 16
_T = TypeVar("_T")


def mget(keys: int, groups: Iterable[tuple[str, Sequence[str]]]) -> bytes:
    """MGET of so many keys, packed. groups: a prefix, and the rest of each key with it."""
    parts = [f"*{keys + 1}\r\n$4\r\nMGET\r\n"]
    for prefix, rests in groups:
        length = len(prefix)
        parts += [f"${length + len(rest)}\r\n{prefix}{rest}\r\n" for rest in rests]
    packed = "".join(parts)
    if packed.isascii():
        return packed.encode()
    return parts[0].encode() + b"".join(
        b"$%d\r\n%b\r\n" % (len(key), key)
        for prefix, rests in groups
        for key in ((prefix + rest).encode() for rest in rests)
    )


class Answer:
    """The values of an MGET. spans int64 [K, 2]: begin and end of each in ``raw``, begin -1 for none.

    They may still be on their way: ``need(k)`` returns when the first k are there. ``raw`` is good until the next read.
    """

    def __init__(self, raw: NDArray[np.uint8], spans: NDArray[np.int64]) -> None:
        self.raw, self.spans = raw, spans

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Answer:
        """Values that somebody else has read."""
        ends = np.cumsum([len(value or b"") for value in values], dtype=np.int64)
        begins = ends - np.array([len(value or b"") for value in values], np.int64)
        spans = np.stack([np.where([value is None for value in values], -1, begins), ends], axis=1)
        return cls(np.frombuffer(bytearray().join(value or b"" for value in values), np.uint8), spans)

    def need(self, values: int) -> None:
        """Wait for the first so many values."""

    def value(self, place: int) -> bytes | None:
        """One value, as its own bytes."""
        begin, end = self.spans[place].tolist()
        return None if begin < 0 else self.raw[begin:end].tobytes()


class _Streamed(Answer):
    def __init__(self, parser: _Parser, values: int) -> None:
        super().__init__(parser.raw, np.empty((values, 2), np.int64))
        self._parser, self._progress, self._filled = parser, np.zeros(3, np.int64), 0

    @property
    def whole(self) -> bool:
        return bool(self._progress[1] == len(self.spans))

    def need(self, values: int) -> None:
        while self._progress[1] < values or self._progress[0] == 0:
            self._filled = self._parser.receive(self._filled, int(self._progress[2]))
            self.raw = self._parser.raw
            if kernel.scan(self.raw, self._filled, self.spans, self._progress) < 0:
                self._parser.refuse(self._filled)


class _Parser(DefaultParser):  # type: ignore[misc, valid-type]
    """redis-py's parser, which can also hand over the bytes of one answer unread."""

    def __init__(self, socket_read_size: int) -> None:
        super().__init__(socket_read_size)
        self._room = bytearray(_FIRST_BYTES)
        self.raw = np.frombuffer(self._room, np.uint8)

    def on_connect(self, connection: Any, **options: Any) -> None:
        super().on_connect(connection, **options)
        self._socket = connection._sock

    def wait_until(self, deadline: float | None, most_seconds: float | None) -> None:
        """Wait for the answers that follow until ``deadline``, for each piece at most ``most_seconds``."""
        seconds = most_seconds
        if deadline is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                raise RedisTimeoutError("the time for the answer is over")
            seconds = left if most_seconds is None else min(left, most_seconds)
        if self._socket.gettimeout() != seconds:
            self._socket.settimeout(seconds)

    def receive(self, filled: int, least: int) -> int:
        """Receive what is there behind the first ``filled`` bytes; returns how many there are then."""
        if max(filled + 1, least) > len(self._room):
            room = bytearray(2 * max(filled + 1, least))
            room[:filled] = self._room[:filled]
            self._room = room
            self.raw = np.frombuffer(room, np.uint8)
        try:
            received = self._socket.recv_into(memoryview(self._room)[filled:])
        except TimeoutError:
            raise RedisTimeoutError("Timeout reading from socket") from None
        except OSError as error:
            raise RedisConnectionError(f"Error while reading from socket: {error}") from error
        if not received:
            raise RedisConnectionError("Connection closed by server.")
        return filled + int(received)

    def refuse(self, filled: int) -> None:
        """Raise what an answer that is not a list of values says."""
        line = bytes(self._room[:filled]).split(b"\r\n", 1)[0]
        if line.startswith(b"-"):
            error: Exception = self.parse_error(line[1:].decode(errors="replace"))
            raise error
        raise RedisConnectionError(f"MGET was answered with {line[:60]!r}")


class Answers:
    """Reads over one connection, opened at the first read. redis: a redis-py client. One thread at a time."""

    def __init__(self, redis: Any) -> None:
        self._redis, self._process = redis, 0
        self._connection: Any = None

    def _connected(self) -> Any:
        """The connection; a forked process makes its own."""
        if self._process != os.getpid():
            pool = self._redis.connection_pool
            self._connection = pool.connection_class(**{**pool.connection_kwargs, "parser_class": _Parser})
            self._process = os.getpid()
        return self._connection

    def read(self, command: bytes, values: int, use: Callable[[Answer], _T], deadline: float | None = None) -> _T:
        """What ``use`` makes of the answer to an MGET of so many values. It is tried again as the client's retries say.

        deadline: of ``time.monotonic``, for the answer; None for the client's timeout. Raises redis-py's errors when
        Redis does not answer in time, and what ``use`` raises.
        """
        connection = self._connected()

        def ask() -> _T:
            connection.send_packed_command((command,))
            connection._parser.wait_until(deadline, connection.socket_timeout)
            answer = _Streamed(connection._parser, values)
            try:
                made = use(answer)
                answer.need(values)
                return made
            finally:
                if not answer.whole:
                    connection.disconnect()

        made: _T = connection.retry.call_with_retry(ask, lambda error: connection.disconnect())
        return made
