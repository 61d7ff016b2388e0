"""The sweep: goes round the entities of every view and compacts those whose bytes hold much that no live read needs.

An entity of more records than ``features.dense_rows`` becomes a dense one (``dense``): what was reached
``DENSE_MARGIN_SECONDS`` ago goes into tiles, and again whenever as many later records wait in its main key.

What stays exact without HBase: reads at cuts reached at most ``FOLD_MARGIN_SECONDS`` ago, and windows as of times up to
``REMOVE_MARGIN_US`` before the view's newest row (or the appliance clock, if that is earlier, so that a row with a time
in the future takes nothing away). Reads further back see it in the header and go to HBase.
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import numpy as np
from redis.exceptions import WatchError

from appliance.clock import Clock
from appliance.names import Names
from appliance.settings import Features
from stream_jobs.online.compact import Position, compact
from stream_jobs.online.dense import DenseView, directory, let_go, tile_keys, together
from stream_jobs.online.packed import HEADER_BYTES, NO_TIME, RowLayout, header, is_dense
from stream_jobs.online.redis_log import RedisLog
from stream_jobs.plan import Plan, View
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.edits import halves
from stream_jobs.windows.fold import up_to

FOLD_MARGIN_SECONDS = 3600.0
DENSE_MARGIN_SECONDS = 300.0
"""Records in an entity's main key above which its closed rows go into tiles (``dense``)."""
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
        self,
        redis: Any,
        names: Names,
        plan: Plan,
        log: RedisLog,
        fold_margin_seconds: float = FOLD_MARGIN_SECONDS,
        dense_rows: int = Features().dense_rows,
    ) -> None:
        self._margin, self._dense_rows = fold_margin_seconds, dense_rows
        self._dense_margin = min(fold_margin_seconds, DENSE_MARGIN_SECONDS)
        self._dense = {
            view.edits_topic: DenseView.of(RowLayout.of(plan, view), view.features) for view in plan.computed
        }
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
        if not keys or not samples or now - samples[0][0] < min(self._margin, self._dense_margin) or newest is None:
            return 0
        remove_to = max(NO_TIME, min(newest, self._clock.now_us()) - self._longest[view.edits_topic] - REMOVE_MARGIN_US)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(*keys)
            smaller: dict[bytes, bytes] = {}
            many: list[bytes] = []
            for key, raw in zip(keys, pipe.mget(keys), strict=True):
                if raw and (is_dense(raw) or self._is_many(view, raw)):
                    many.append(key)
                elif raw and now - samples[0][0] >= self._margin:
                    after = compact(self._layouts[view.edits_topic], raw, samples[0][1], remove_to)
                    if len(after) <= _WORTH * len(raw):
                        smaller[key] = after
            rewritten = len(smaller)
            if smaller:
                pipe.multi()
                pipe.mset(smaller)
                try:
                    pipe.execute()
                except WatchError:  # somebody wrote one of them meanwhile: the next round comes by again
                    rewritten = 0
        return rewritten + sum(self._tile(view, key, now, remove_to) for key in many)

    def _is_many(self, view: View, raw: bytes) -> bool:
        layout = self._layouts[view.edits_topic]
        many = len(raw) - HEADER_BYTES > self._dense_rows * layout.width
        return many and self._dense[view.edits_topic] is not None

    def _foldable(self, layout: RowLayout, tail: bytes, settled: Position) -> int:
        """How many of the records behind a directory could go into tiles."""
        batch = layout.decode([tail]).batch
        return int(up_to(batch, *(np.full(len(batch), half, np.uint64) for half in settled)).sum())

    def _tile(self, view: View, key: bytes, now: float, remove_to: int) -> bool:
        """Put an entity's closed rows into tiles, once as many records as make it dense wait for it in its main key."""
        layout, dense_view = self._layouts[view.edits_topic], self._dense[view.edits_topic]
        settled = [at for since, at in self._samples[view.edits_topic] if now - since >= self._dense_margin]
        if dense_view is None or not settled:
            return False
        entity = key.decode().removeprefix(self._names.redis_edits(view.name, view.version, ""))
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(key)
            raw = before = pipe.get(key)
            if raw is not None and is_dense(raw):
                made = directory(raw)
                if self._foldable(layout, made.tail, settled[-1]) < self._dense_rows:
                    return False
                every = tile_keys(self._names, view, entity, made, range(made.tiles))
                rows = [tile for tile in pipe.mget(every) if tile is not None]
                if len(rows) < len(every):
                    return False
                raw = together(made, rows, layout)
            if raw is None:
                return False
            main, tiles, generation = compact(layout, raw, settled[-1], remove_to), list[bytes](), secrets.randbits(64)
            if header(main).base > self._dense_rows and (tiled := dense_view.tile(main, generation)) is not None:
                main, tiles = tiled
            elif len(main) > _WORTH * len(raw):
                return False
            pipe.multi()
            pipe.set(key, main)
            for number, tile in enumerate(tiles):
                pipe.set(self._names.redis_tile(view.name, view.version, entity, generation, number), tile)
            if is_dense(before):
                let_go(pipe, self._names, view, entity, before)
            try:
                pipe.execute()
            except WatchError:
                return False
        return True
