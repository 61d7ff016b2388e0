"""kill -9 of parts at random moments, and how long each took to be ready again and to bring new commits."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence

import msgspec

from appliance.parts.base import Context
from appliance.supervisor import Supervisor

PARTS = (
    "flink-taskmanager", "flink-jobmanager", "connect", "kafka", "writer-redis", "writer-hbase", "writer-lake",
    "marker", "redis", "hbase",
)  # fmt: skip
_READY_SECONDS = 300


class Kill(msgspec.Struct):
    """ready_seconds: until the part works again. fresh_seconds: until a commit made after the kill was servable."""

    part: str
    at_change: int
    killed_us: int
    ready_seconds: float | None = None
    fresh_seconds: float | None = None


class Killer(threading.Thread):
    """Kills each of ``parts`` ``times`` times, in random order, at moments spread over the changes.

    done: changes committed so far. fresh_us: commit time (µs) up to which everything is servable.
    """

    def __init__(
        self, context: Context, parts: Sequence[str], times: int, changes: int, done: Callable[[], int],
        fresh_us: Callable[[], int], say: Callable[[str], None], seed: int,
    ) -> None:  # fmt: skip
        super().__init__(daemon=True, name="killer")
        self._context, self._done, self._fresh_us, self._say = context, done, fresh_us, say
        chance = random.Random(seed)
        victims = [part for part in parts for _ in range(times)]
        chance.shuffle(victims)
        moments = sorted(chance.uniform(0.05, 0.95) * changes for _ in victims)
        self._schedule = list(zip(moments, victims, strict=True))
        self.kills: list[Kill] = []
        self.failure: Exception | None = None
        self.ended = threading.Event()

    def run(self) -> None:
        try:
            supervisor = Supervisor(self._context)
            for moment, part in self._schedule:
                while self._done() < moment:
                    time.sleep(0.05)
                self._kill(supervisor, part)
        except Exception as error:  # noqa: BLE001  # told to the run, which raises it
            self.failure = error
        self.ended.set()

    def _kill(self, supervisor: Supervisor, part: str) -> None:
        limit = time.monotonic() + _READY_SECONDS
        while (state := supervisor.state(part)) is None or not state.running:
            assert time.monotonic() < limit, f"{part} does not run"
            time.sleep(0.5)
        kill = Kill(part, self._done(), time.time_ns() // 1_000)
        os.kill(state.pid, signal.SIGKILL)
        self.kills.append(kill)
        self._say(f"killed {part} (process {state.pid}) after {kill.at_change} changes")
        began = time.monotonic()
        while time.monotonic() - began < _READY_SECONDS:
            time.sleep(0.5)
            again = supervisor.state(part)
            if again is None or not again.running or again.pid == state.pid:
                continue
            if self._works(part):
                kill.ready_seconds = round(time.monotonic() - began, 1)
                self._say(f"{part} is ready again after {kill.ready_seconds} s")
                return
        raise AssertionError(f"{part} is not ready {_READY_SECONDS} s after it was killed")

    def _works(self, part: str) -> bool:
        """Whether the part is ready; a notice that stands (exit status 1 too) says nothing about it."""
        asked = [str(self._context.layout.bin / "appliance"), "status", part, "--json"]
        told = subprocess.run(asked, capture_output=True, check=False)
        return any(each["name"] == part and each["state"] == "ready" for each in json.loads(told.stdout)["parts"])

    def look(self) -> None:
        """Note for each kill when a commit made after it became servable; called every few milliseconds."""
        fresh, now = self._fresh_us(), time.time_ns() // 1_000
        for kill in self.kills:
            if kill.fresh_seconds is None and fresh > kill.killed_us:
                kill.fresh_seconds = round((now - kill.killed_us) / 1e6, 2)
