"""The sweep: goes round the entities of every view and compacts those whose bytes hold much that no live read needs.

What stays exact without HBase: reads at cuts reached at most ``FOLD_MARGIN_SECONDS`` ago, and windows as of times up to
``REMOVE_MARGIN_US`` before the view's newest row (or the appliance clock, if that is earlier, so that a row with a time
in the future takes nothing away). Reads further back see it in the header and go to HBase.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from itertools import cycle
from typing import Any

from redis.exceptions import WatchError

from appliance.clock import Clock
from appliance.names import Names
from stream_jobs.online.compact import Position, compact
from stream_jobs.online.packed import NO_TIME, RowLayout
from stream_jobs.online.redis_log import RedisLog
from stream_jobs.plan import Plan, View
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.edits import halves

FOLD_MARGIN_SECONDS = 3600.0
REMOVE_MARGIN_US = 86_400_000_000
_STEP_SECONDS = 1.0
_BUSY_SECONDS = 0.01
_SAMPLE_SECONDS = 60.0
_PAGE = 100
_WORTH = 0.75
"""An entity is rewritten when it shrinks at least to this share."""


class Sweep:
    """A few pages of entities a second, in the writer's own thread. redis: a redis-py client that returns bytes."""

    def __init__(
        self, redis: Any, names: Names, plan: Plan, log: RedisLog, fold_margin_seconds: float = FOLD_MARGIN_SECONDS
    ) -> None:
        self._margin = fold_margin_seconds
        self._redis, self._names, self._log = redis, names, log
        self._clock = Clock(redis, names.redis_clock())
        self._layouts = {view.edits_topic: RowLayout.of(plan, view) for view in plan.computed}
        self._longest = {view.edits_topic: Windows(view.columns, view.features).longest_us for view in plan.computed}
        self._samples: dict[str, deque[tuple[float, Position]]] = {view.edits_topic: deque() for view in plan.computed}
        self._pages = self._go_round(plan.computed)
        self._stepped_at = 0.0

    def step(self) -> int:
        """Go on for about 10 ms, at most once a second; returns how many entities were rewritten."""
        now = time.monotonic()
        if now - self._stepped_at < _STEP_SECONDS:
            return 0
        self._stepped_at = now
        rewritten = 0
        for view, keys in self._pages:
            self._sample(view, now)
            rewritten += self._compact(view, keys, now)
            if time.monotonic() - now >= _BUSY_SECONDS:
                break
        return rewritten

    def _go_round(self, views: tuple[View, ...]) -> Iterator[tuple[View, list[bytes]]]:
        for view in cycle(views):
            cursor, pattern = 0, self._names.redis_edits(view.name, view.version, "*")
            while True:
                cursor, keys = self._redis.scan(cursor, match=pattern, count=_PAGE)
                yield view, keys
                if cursor == 0:
                    break

    def _sample(self, view: View, now: float) -> None:
        """Remember which position was reached when; only the newest sample older than the margin is ever used."""
        samples, reached = self._samples[view.edits_topic], self._log.reached(view)
        if reached is not None and (not samples or now - samples[-1][0] >= _SAMPLE_SECONDS):
            samples.append((now, halves(reached.position)))
        while len(samples) > 1 and now - samples[1][0] >= self._margin:
            samples.popleft()

    def _compact(self, view: View, keys: list[bytes], now: float) -> int:
        samples = self._samples[view.edits_topic]
        newest = self._log.state.newest.get(view.edits_topic)
        if not keys or not samples or now - samples[0][0] < self._margin or newest is None:
            return 0
        remove_to = max(NO_TIME, min(newest, self._clock.now_us()) - self._longest[view.edits_topic] - REMOVE_MARGIN_US)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(*keys)
            smaller: dict[bytes, bytes] = {}
            for key, raw in zip(keys, pipe.mget(keys), strict=True):
                after = compact(self._layouts[view.edits_topic], raw, samples[0][1], remove_to) if raw else b""
                if raw and len(after) <= _WORTH * len(raw):
                    smaller[key] = after
            if not smaller:
                return 0
            pipe.multi()
            pipe.mset(smaller)
            try:
                pipe.execute()
            except WatchError:  # somebody wrote one of them meanwhile: the next round comes by again
                return 0
        return len(smaller)
