"""A process that sends HTTP requests, and says how long each took: ``python -m tests.bench.serving_load FILE``.

FILE is JSON (mode 600: it holds a token) with the fields of ``Order``. rate: requests a second, begun at their times
whatever the answers do, over at most ``concurrency`` connections; 0: each connection sends again when it is answered.
The answer is JSON on stdout. Times of an open loop count from when a request should have begun.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import uvloop

_WARM_SHARE = 0.1


class Order(msgspec.Struct, frozen=True):
    port: int
    path: str
    headers: dict[str, str]
    bodies: list[str]
    concurrency: int
    seconds: float
    rate: float = 0.0


class Outcome(msgspec.Struct, frozen=True):
    """p50_ms, p99_ms: of those answered 200. codes: status → answers. client_cpu: cores this process used.

    unsent: requests of an open loop for which there was no free connection.
    """

    p50_ms: float
    p99_ms: float
    per_second: float
    codes: dict[str, int]
    client_cpu: float
    unsent: int


class _Load:
    def __init__(self, order: Order) -> None:
        self.order = order
        head = "".join(f"{name}: {value}\r\n" for name, value in order.headers.items())
        self._requests = [
            f"POST {order.path} HTTP/1.1\r\nhost: localhost\r\n{head}content-length: {len(raw)}\r\n\r\n".encode() + raw
            for raw in map(str.encode, order.bodies)
        ]
        self._next = 0
        self.taken: list[tuple[float, float]] = []
        self.codes: dict[str, int] = {}
        self.free: deque[_Connection] = deque()
        self.begun = self.end = 0.0
        self.unsent = 0

    def request(self) -> bytes:
        self._next += 1
        return self._requests[self._next % len(self._requests)]

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(self.order.concurrency):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self.order.port)
        self.begun = time.perf_counter()
        self.end = self.begun + self.order.seconds
        if not self.order.rate:
            while self.free:
                self.free.popleft().send(time.perf_counter())
            await asyncio.sleep(self.order.seconds + 0.2)
            return
        sent = 0
        while (now := time.perf_counter()) < self.end:
            due = int((now - self.begun) * self.order.rate)
            while sent < due:
                if self.free:
                    self.free.popleft().send(self.begun + sent / self.order.rate)
                else:
                    self.unsent += 1
                sent += 1
            await asyncio.sleep(0.001)

    def answered(self, connection: _Connection, code: str, began: float) -> None:
        now = time.perf_counter()
        self.codes[code] = self.codes.get(code, 0) + 1
        if code == "200":
            self.taken.append((now, now - began))
        if self.order.rate or now >= self.end:
            self.free.append(connection)
        else:
            connection.send(now)


class _Connection(asyncio.Protocol):
    def __init__(self, load: _Load) -> None:
        self._load, self._held, self._began = load, b"", 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._load.free.append(self)

    def send(self, began: float) -> None:
        self._began = began
        self._transport.write(self._load.request())

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if len(body) >= int(length):
            self._held = b""
            self._load.answered(self, head[9:12].decode(), self._began)


def main() -> None:
    order = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Order)
    load = _Load(order)
    uvloop.run(load.run())
    warm = load.begun + order.seconds * _WARM_SHARE
    taken = [took * 1e3 for at, took in load.taken if at >= warm]
    assert taken, f"nothing was answered: {load.codes}"
    p50, p99 = np.percentile(taken, [50, 99]).tolist()
    rate = len(taken) / (order.seconds * (1 - _WARM_SHARE))
    outcome = Outcome(p50, p99, rate, load.codes, time.process_time() / order.seconds, load.unsent)
    sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")


if __name__ == "__main__":
    main()
