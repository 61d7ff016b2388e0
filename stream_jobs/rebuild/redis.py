"""Fills a view in Redis again from the lake while it is written and read: no gap, no overlap, never empty.

1. A field in the writer's state asks it for tails (``online/redis_log.py``). In one transaction with that, the writer's
   offsets stand still for a moment: what is in Redis before is in no tail, what comes after is.
2. The lake is waited for until it holds every change captured by now, so everything from before the tails is in it.
3. Entity by entity, in one script: key = the lake's edits + the tail. A reader finds the old bytes or the new ones,
   the new ones complete up to the position reached, which goes on moving with the writer.
4. Keys that the lake does not know become their tail, or go.

The script refuses to write when the field is not this rebuild's any more (the lease ran out, or another rebuild of the
view began). After a kill: run it again; the tails left behind are removed by it, or by Redis after a week.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from redis.exceptions import RedisError

from appliance import position as positions
from appliance.clock import Clock
from appliance.parts.base import Context
from stream_jobs.errors import EditError, PackedError, RebuildError
from stream_jobs.lake import reading
from stream_jobs.online import dense
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.compact import compact
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, NO_TIME, RowLayout, header, is_dense, repeated
from stream_jobs.online.redis_log import rebuild_field, state_key
from stream_jobs.online.sweep import FOLD_MARGIN_SECONDS, REMOVE_MARGIN_US
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild import from_lake, tables
from stream_jobs.rebuild import held as helds
from stream_jobs.rebuild.result import Progress, Result, Tell
from stream_jobs.windows.assemble import Windows
from stream_jobs.windows.edits import halves
from stream_jobs.windows.fold import fold, up_to

_LEASE_SECONDS = 60
_CHUNK_ENTITIES = 500
_CHUNK_BYTES = 4 * 2**20
_PAGE = 1000
_ENTITIES = pa.schema([("entity", pa.string())])

_SWAP = """
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
local count = (#KEYS - 1) / 2
for i = 1, count do
  local bytes, tail = ARGV[i + 3], redis.call('GET', KEYS[1 + count + i])
  if tail then
    if bytes == '' then bytes = ARGV[3] end
    bytes = bytes .. tail
  end
  if bytes == '' then redis.call('DEL', KEYS[1 + i]) else redis.call('SET', KEYS[1 + i], bytes) end
end
return 1
"""
"""KEYS: state, entities, their tails. ARGV: field, rebuild, an empty log, the entities' bytes ('' if none)."""


class RedisRebuild:
    """One rebuild of one view version. redis: a redis-py client that returns bytes."""

    def __init__(
        self, context: Context, plan: Plan, view: View, redis: Any, tell: Tell = lambda progress: None
    ) -> None:
        self._context, self._view, self._redis, self._tell = context, view, redis, tell
        self._names = context.names
        self._table = from_lake.captured(plan, view)
        self._layout = RowLayout.of(plan, view)
        self._longest_us = Windows(view.columns, view.features).longest_us
        self._name = f"{view.name}.v{view.version}:{uuid.uuid4().hex}"
        self._field = rebuild_field(view.edits_topic)
        self._position = positions.ZERO
        self._fold_to, self._remove_to = (0, 0), NO_TIME
        self._progress = Progress()
        self._entities = self._edits = self._changed = self._unknown = self._refused = 0
        self._before = self._after = 0

    def run(self) -> Result:
        """Raises RebuildError, LakeError, KafkaException, and redis-py's errors when Redis does not answer."""
        began = time.monotonic()
        reached = self._begin()
        stop = threading.Event()
        threading.Thread(target=self._keep_lease, args=(stop,), daemon=True).start()
        try:
            version = self._wait_for_the_lake()
            with from_lake.lake(self._context) as lake:
                changes = from_lake.changes(self._context, self._table, version)
                self._plan_compaction(lake, changes, reached)
                self._note_present(lake)
                self._fill(lake, changes)
                self._remove_unknown(lake)
        finally:
            stop.set()
            self._end()
        return Result(
            "redis", f"{self._view.name}.v{self._view.version}", self._entities, self._edits, self._changed,
            self._unknown, 0, self._refused, self._before, self._after, version, self._position,
            time.monotonic() - began,
        )  # fmt: skip

    def _begin(self) -> reached_positions.Reached | None:
        """Ask for tails. Returns the position that Redis had reached at that moment."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.set(self._names.redis_rebuild_lease(self._name), 1, ex=_LEASE_SECONDS)
            pipe.hset(state_key(self._names), self._field, self._name)
            pipe.get(reached_positions.key(self._names, self._view))
            reached = reached_positions.decode(pipe.execute()[-1])
        if reached is not None:
            self._position = reached.position
        return reached

    def _wait_for_the_lake(self) -> int:
        self._say("waiting until the lake holds what has been captured", 0)
        consumer = helds.consumer(self._context)
        try:
            until = helds.ends(self._table, consumer)
            return helds.wait(
                self._context, self._table, consumer, until, helds.LAKE_SECONDS, lambda: self._tell(self._progress)
            ).version
        finally:
            consumer.close()

    def _plan_compaction(
        self, lake: duckdb.DuckDBPyConnection, changes: str, reached: reached_positions.Reached | None
    ) -> None:
        """Fold and remove what the sweep would: see ``online/sweep.py``."""
        edits, newest = lake.execute(
            "SELECT coalesce(sum(CASE op WHEN 'u' THEN 2 WHEN 't' THEN 0 ELSE 1 END), 0)::BIGINT,"
            f" epoch_us(max({reading.quote('after_' + self._view.event_time)})) FROM {changes}"
        ).fetchall()[0]
        self._progress.of = edits
        if reached is None or newest is None:
            return
        settled = reached.known_at - round(FOLD_MARGIN_SECONDS * 1e6)
        found = lake.execute(
            f"SELECT max(position) FROM {changes} WHERE NOT assumed AND position <= ? AND epoch_us(known_at) <= ?",
            [reached.position, settled],
        ).fetchall()[0][0]
        if found is not None:
            clock = Clock(self._redis, self._names.redis_clock())
            self._fold_to = halves(found)
            self._remove_to = max(NO_TIME, min(newest, clock.now_us()) - self._longest_us - REMOVE_MARGIN_US)

    def _note_present(self, lake: duckdb.DuckDBPyConnection) -> None:
        """The entities that Redis has now."""
        tables.make(lake, "present", _ENTITIES)
        tables.make(lake, "known", _ENTITIES)
        prefix = self._names.redis_edits(self._view.name, self._view.version, "")
        page: list[tuple[str]] = []
        for key in self._redis.scan_iter(match=f"{prefix}*", count=_PAGE):
            page.append((key.decode().removeprefix(prefix),))
            if len(page) >= _PAGE * 10:
                tables.insert(lake, "present", _ENTITIES, page)
                self._tell(self._progress)
        tables.insert(lake, "present", _ENTITIES, page)

    def _fill(self, lake: duckdb.DuckDBPyConnection, changes: str) -> None:
        self._say("filling entities", 0)
        with lake.cursor() as notes:
            chunk: dict[str, bytes] = {}
            for entity, log in self._logs(lake, changes):
                chunk[entity] = compact(self._layout, log, self._fold_to, self._remove_to)
                self._progress.done = self._edits
                if len(chunk) >= _CHUNK_ENTITIES or sum(map(len, chunk.values())) >= _CHUNK_BYTES:
                    self._swap(chunk)
                    tables.insert(notes, "known", _ENTITIES, [(entity,) for entity in chunk])
                    chunk = {}
            self._swap(chunk)
            tables.insert(notes, "known", _ENTITIES, [(entity,) for entity in chunk])

    def _logs(self, lake: duckdb.DuckDBPyConnection, changes: str) -> Iterator[tuple[str, bytes]]:
        """Each entity with its log; memory holds one batch, and the bytes of one entity."""
        entity, log = None, bytearray(EMPTY)
        for batch in from_lake.batches(lake, self._view, self._table, changes, "entity"):
            for edit in from_lake.edits_of(self._view, batch):
                if edit.entity != entity:
                    if entity is not None:
                        yield entity, bytes(log)
                    entity, log = edit.entity, bytearray(EMPTY)
                try:
                    log += self._layout.encode(edit)
                    self._edits += 1
                except EditError:
                    self._refused += 1
        if entity is not None:
            yield entity, bytes(log)

    def _remove_unknown(self, lake: duckdb.DuckDBPyConnection) -> None:
        self._say("removing what the lake does not know", self._progress.of)
        chunk: dict[str, bytes] = {}
        for (entity,) in tables.rows(lake, "FROM present ANTI JOIN known USING (entity)"):
            chunk[entity] = b""
            if len(chunk) >= _CHUNK_ENTITIES:
                self._swap(chunk)
                chunk = {}
        self._swap(chunk)

    def _swap(self, chunk: dict[str, bytes]) -> None:
        if not chunk:
            return
        keys = [self._names.redis_edits(self._view.name, self._view.version, entity) for entity in chunk]
        tails = [self._names.redis_rebuild_tail(self._name, entity) for entity in chunk]
        olds = self._redis.mget(keys)
        state = state_key(self._names)
        swapped = self._redis.eval(
            _SWAP, 1 + 2 * len(keys), state, *keys, *tails, self._field, self._name, EMPTY, *chunk.values()
        )
        if not swapped:
            raise RebuildError(
                "rebuild.lost",
                f"the rebuild of {self._view.name!r} is no longer the one that the writer works for: it stood still for"
                f" more than {_LEASE_SECONDS} s, or another one began. What it wrote is right; the rest is as it was",
                hint=f"appliance rebuild redis {self._view.name}",
            )
        for entity, old in zip(chunk, olds, strict=True):
            if old and is_dense(old):
                dense.let_go(self._redis, self._names, self._view, entity, old)
        self._note(chunk, olds)
        self._tell(self._progress)

    def _note(self, chunk: dict[str, bytes], olds: Sequence[bytes | None]) -> None:
        news, cut = list(chunk.values()), halves(self._position)
        for new, old in zip(news, olds, strict=True):
            self._before += len(old or b"")
            self._after += len(new)
            self._entities += bool(new)
            self._unknown += not new and differ(self._layout, old or EMPTY, EMPTY, cut)
        self._changed += sum(
            differ(self._layout, old or EMPTY, new or EMPTY, cut) for new, old in zip(news, olds, strict=True)
        )

    def _keep_lease(self, stop: threading.Event) -> None:
        """The lease ends with this process, or when Redis has not answered for so long that the writer gives up too."""
        while not stop.wait(_LEASE_SECONDS / 6):
            with contextlib.suppress(RedisError):
                self._redis.set(self._names.redis_rebuild_lease(self._name), 1, ex=_LEASE_SECONDS)

    def _say(self, what: str, done: int) -> None:
        self._progress.what, self._progress.done = what, done
        self._tell(self._progress)

    def _end(self) -> None:
        """Ask for no more tails, and take away those of this view's rebuilds, this one's and any killed one's."""
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(state_key(self._names))
            if pipe.hget(state_key(self._names), self._field) != self._name.encode():
                return
            pipe.multi()
            pipe.hdel(state_key(self._names), self._field)
            pipe.delete(self._names.redis_rebuild_lease(self._name))
            pipe.execute()
        every = self._names.redis_rebuild_tail(f"{self._view.name}.v{self._view.version}:*", "*")
        keys: list[bytes] = []
        for key in self._redis.scan_iter(match=every, count=_PAGE):
            keys.append(key)
            if len(keys) >= _PAGE:
                self._redis.unlink(*keys)
                keys = []
        if keys:
            self._redis.unlink(*keys)


def differ(layout: RowLayout, old: bytes, new: bytes, cut: tuple[int, int]) -> bool:
    """Whether two logs of an entity give other rows at a cut, as far back as both of them reach."""
    if old[HEADER_BYTES:] == new[HEADER_BYTES:]:
        return False
    try:
        since = max(header(old).removed_to, header(new).removed_to)
        return _live(layout, old, cut, since) != _live(layout, new, cut, since)
    except PackedError:
        return True


def _live(layout: RowLayout, raw: bytes, cut: tuple[int, int], since: int) -> set[bytes]:
    head, log = header(raw), raw[HEADER_BYTES:]
    decoded = layout.decode([log])
    batch = decoded.batch
    considered = up_to(batch, *(np.full(len(batch), half, np.uint64) for half in cut)) & ~repeated(decoded, [head])
    live = fold(batch, decoded.group, considered)
    records = layout.split(log)
    return {records[index] for index in live[batch.event_time[live] > since].tolist()}
