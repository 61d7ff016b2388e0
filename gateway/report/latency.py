"""Commit → servable and commit → prediction, watched from outside while rows are committed.

A row is *servable* when the position that every view of its service has reached online is at or past the row's own.
A row is *scored* when a reader of committed records can see its prediction. Both are compared with the commit time that
the business database itself gave the row (``known_at`` of the captured change), on the same machine's clock.
"""

from __future__ import annotations

import bisect
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from appliance.clients import kafka, redis
from appliance.clock import wall_us
from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.records import Prediction
from stream_jobs.online import reached
from stream_jobs.plan import Service, View

_POLL_SECONDS = 0.002
_QUIET_SECONDS = 5.0
_LOOK_SECONDS = 0.2


class Quantiles(msgspec.Struct, frozen=True):
    """p50, p99 and the greatest of ``rows`` latencies, milliseconds."""

    rows: int
    p50_ms: float
    p99_ms: float
    max_ms: float

    @classmethod
    def of(cls, latencies_us: list[int]) -> Quantiles | None:
        """Nearest-rank quantiles; None when nothing was measured."""
        if not latencies_us:
            return None
        ordered = sorted(latencies_us)

        def rank(share: float) -> float:
            return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000

        return cls(len(ordered), rank(0.5), rank(0.99), ordered[-1] / 1000)


class Latency(msgspec.Struct, frozen=True):
    """What one measurement saw. unseen: rows scored whose position was not yet servable when it ended."""

    servable: Quantiles | None
    scored: Quantiles | None
    unseen: int
    behind: int


class ReachedWatch(threading.Thread):
    """Notes when each position of a view became servable."""

    def __init__(self, context: Context, views: list[View]) -> None:
        super().__init__(daemon=True)
        self._redis = redis.connect(context, "appliance")
        self._names, self._views = context.names, views
        self._stopped = threading.Event()
        self.positions: list[str] = []
        self.seen_us: list[int] = []

    def run(self) -> None:
        while not self._stopped.is_set():
            known = reached.read(self._redis, self._names, self._views).values()
            now = wall_us()
            positions = [one.position for one in known if one is not None]
            if len(positions) == len(self._views):
                lowest = min(positions)
                if not self.positions or lowest > self.positions[-1]:
                    self.positions.append(lowest)
                    self.seen_us.append(now)
            time.sleep(_POLL_SECONDS)

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def servable_at(self, position: str) -> int | None:
        """Wall time, µs, at which ``position`` was first seen servable."""
        index = bisect.bisect_left(self.positions, position)
        return self.seen_us[index] if index < len(self.positions) else None


def wait_caught_up(context: Context, views: list[View], timeout_seconds: float) -> None:
    """Returns when every view has what is there already: the position reached is no older than two heartbeats.

    Raises NotReadyError when they do not get there within ``timeout_seconds``: what is measured would be the backlog.
    """
    oldest_us = 2_000 * context.settings.cdc.heartbeat_interval_ms
    deadline = time.monotonic() + timeout_seconds
    with redis.connect(context, "appliance") as store:
        while True:
            known = reached.read(store, context.names, views)
            behind = [name for name, one in known.items() if one is None or wall_us() - one.known_at > oldest_us]
            if not behind:
                return
            if time.monotonic() >= deadline:
                raise NotReadyError(
                    "measure.behind",
                    f"within {timeout_seconds:.0f} s, views {behind} did not reach a position younger than"
                    f" {oldest_us / 1e6:.0f} s",
                    hint="appliance freshness says how far behind they are; appliance status which part does not work",
                )
            time.sleep(_LOOK_SECONDS)


def measure(
    context: Context, service: Service, views: list[View], timeout_seconds: float, commit: Callable[[], Any]
) -> Latency:
    """Watch while ``commit`` (run in a thread) commits rows, until it is done and no prediction came for some seconds.

    Returns what was seen when ``timeout_seconds`` ran out, if that comes first.
    """
    watch = ReachedWatch(context, views)
    group = f"{context.names.tenant}.appliance.measure-{wall_us()}"
    consumer = kafka.from_end(context, "appliance", group, context.names.predictions(service.name))
    deadline = time.monotonic() + timeout_seconds
    watch.start()
    writer = threading.Thread(target=commit, daemon=True)
    writer.start()
    seen: list[tuple[Prediction, int]] = []
    quiet_since = time.monotonic()
    while time.monotonic() < deadline:
        message = consumer.poll(0.05)
        if writer.is_alive():
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _QUIET_SECONDS:
            break
        if message is None or message.error():
            continue
        quiet_since = time.monotonic()
        prediction = msgspec.json.decode(message.value() or b"", type=Prediction)
        if prediction.way == "cdc":
            seen.append((prediction, wall_us()))
    watch.stop()
    consumer.close()
    servable = [(p.committed_at, watch.servable_at(p.source_position)) for p, _ in seen]
    return Latency(
        servable=Quantiles.of([at - committed for committed, at in servable if at is not None]),
        scored=Quantiles.of([at - p.committed_at for p, at in seen]),
        unseen=sum(at is None for _, at in servable),
        behind=sum(p.behind for p, _ in seen),
    )
