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
from appliance.parts.base import Context
from appliance.records import Prediction
from stream_jobs.online import reached
from stream_jobs.plan import Service, View

_POLL_SECONDS = 0.002
_QUIET_SECONDS = 5.0


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
