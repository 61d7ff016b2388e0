"""Writing edits to Redis, exactly once.

The writer's state (next offset of each partition, last marker of each channel, newest event time of each view) is a
hash in Redis itself, written in one MULTI/EXEC with the edits and the positions reached that it speaks of. So a Redis
that was killed comes back with a prefix of our transactions, and the writer goes on from the offsets it finds there.
WATCH on the state refuses a write when Redis is not where the writer believes it is, or a second writer is at work.

A rebuild of a view (``stream_jobs/rebuild/redis.py``) puts a field of its own into that hash. While it is there, and
the rebuild's lease lives, the writer also appends each edit of the view to the entity's *tail*, a key of the rebuild's
own: what has come since the rebuild began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.exceptions import WatchError

from appliance.names import Names
from appliance.records import Edit
from stream_jobs.errors import EditError
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.edits_topic import Batch, Partition, Received, Unusable
from stream_jobs.online.packed import EMPTY, RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.plan import Plan, View

Channel = tuple[int, str]
"""Partition of the edits topic, and the channel a marker names."""

_REBUILD = b"rebuild|"
_TAIL_SECONDS = 7 * 86_400
"""Longer than any rebuild: then the tails of one that was killed go away by themselves."""
_TRIES = 3

_APPEND = """
for i = 1, #KEYS do
  if redis.call('APPEND', KEYS[i], ARGV[i + 1]) == #ARGV[i + 1] then
    redis.call('SET', KEYS[i], ARGV[1] .. ARGV[i + 1])
  end
end
"""
"""Append ARGV[i + 1] to KEYS[i]; a key that was not there begins with ARGV[1]. One command for a whole batch."""

_APPEND_TAILS = """
for i = 1, #KEYS do
  redis.call('APPEND', KEYS[i], ARGV[i + 1])
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
"""


@dataclass
class State:
    """What the hash holds, decoded. channels and newest: by edits topic."""

    offsets: dict[Partition, int] = field(default_factory=dict)
    channels: dict[str, dict[Channel, Reached]] = field(default_factory=dict)
    newest: dict[str, int] = field(default_factory=dict)


@dataclass
class Packed:
    """A batch as it will be written. after: the state then. logs: edits topic → entity → records. views: by topic."""

    after: State
    logs: dict[str, dict[str, list[bytes]]] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    unusable: list[Unusable] = field(default_factory=list)


class RedisLog:
    """The packed logs of a plan's views. redis: a redis-py client that returns bytes."""

    def __init__(self, redis: Any, names: Names, plan: Plan) -> None:
        self._redis, self._names = redis, names
        self._key = state_key(names)
        self._layouts = {view.edits_topic: RowLayout.of(plan, view) for view in plan.computed}
        self._expected: dict[str, list[Channel]] = {}
        self.state = State()

    def load(self) -> State:
        """Read the state that Redis holds and go on from there."""
        fields = self._redis.hgetall(self._key)
        _take_rebuilds(fields)
        self.state = _decode(fields)
        return self.state

    def expect(self, view: View, channels: Iterable[Channel]) -> None:
        """Name the channels that must have spoken before the view has reached anything."""
        self._expected[view.edits_topic] = list(channels)

    def reached(self, view: View) -> Reached | None:
        """The position reached by what has been written."""
        return self._reached(self.state, view)

    def pack(self, batch: Batch) -> Packed:
        """What writing a batch will do, and which of its records do not fit their view."""
        packed = Packed(_copy(self.state))
        packed.after.offsets.update(batch.offsets)
        for received in batch.received:
            view, edit = received.view, received.edit
            packed.views[view.edits_topic] = view
            if edit.sign == 0:
                _mark(packed.after, received)
                continue
            try:
                record = self._layouts[view.edits_topic].encode(edit)
            except EditError as error:
                packed.unusable.append(Unusable(received.message, error))
                continue
            packed.logs.setdefault(view.edits_topic, {}).setdefault(edit.entity, []).append(record)
            newest = packed.after.newest
            newest[view.edits_topic] = max(newest.get(view.edits_topic, edit.event_time), edit.event_time)
        return packed

    def write(self, packed: Packed) -> None:
        """Add a batch's edits, then what its markers say, in one transaction.

        Raises WatchError when Redis does not hold the state this writer wrote last: ``load`` and read again from there.
        Raises redis-py's errors when Redis does not answer; whether the batch is in is then seen by ``load``.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._write(packed)
            except WatchError:  # a rebuild may just have begun or ended; the next try sees whether it was more
                continue
        return self._write(packed)

    def _write(self, packed: Packed) -> None:
        before, after = _encode(self.state), _encode(packed.after)
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.watch(self._key)
            fields = pipe.hgetall(self._key)
            rebuilds = _take_rebuilds(fields)
            if fields != before:
                raise WatchError("the state in Redis is not the one this writer wrote last")
            ended = [
                topic for topic, name in rebuilds.items() if not pipe.exists(self._names.redis_rebuild_lease(name))
            ]
            pipe.multi()
            for topic, logs in packed.logs.items():
                view = packed.views[topic]
                records = [b"".join(some) for some in logs.values()]
                keys = [self._names.redis_edits(view.name, view.version, entity) for entity in logs]
                pipe.eval(_APPEND, len(keys), *keys, EMPTY, *records)
                if topic in rebuilds and topic not in ended:
                    tails = [self._names.redis_rebuild_tail(rebuilds[topic], entity) for entity in logs]
                    pipe.eval(_APPEND_TAILS, len(tails), *tails, _TAIL_SECONDS, *records)
            for view in packed.views.values():
                if (reached := self._reached(packed.after, view)) is not None:
                    pipe.set(reached_positions.key(self._names, view), reached_positions.encode(reached))
            if different := {name: value for name, value in after.items() if before.get(name) != value}:
                pipe.hset(self._key, mapping=different)
            if ended:
                pipe.hdel(self._key, *(rebuild_field(topic) for topic in ended))
            pipe.execute()
        self.state = packed.after

    def _reached(self, state: State, view: View) -> Reached | None:
        return reached_positions.lowest(self._expected[view.edits_topic], state.channels.get(view.edits_topic, {}))


def forget(redis: Any, names: Names, view: str) -> None:
    """Take every version of a view out of Redis: positions reached, the writer's state of it, then its entities.

    A writer whose plan still has the view finds its state gone and fills it again from the oldest edits.
    """
    topics = tuple(f"{kind}|{names.edits_prefix(view)}" for kind in ("offset", "channel", "newest"))
    fields = [name for name in redis.hkeys(state_key(names)) if name.decode().startswith(topics)]
    reached = list(redis.scan_iter(match=names.redis_reached_pattern(view), count=1000))
    with redis.pipeline(transaction=True) as pipe:
        if reached:
            pipe.unlink(*reached)
        if fields:
            pipe.hdel(state_key(names), *fields)
        pipe.execute()
    patterns = (names.redis_edits_pattern(view), names.redis_tiles_pattern(view))
    keys = [key for pattern in patterns for key in redis.scan_iter(match=pattern, count=1000)]
    for begin in range(0, len(keys), 1000):
        redis.unlink(*keys[begin : begin + 1000])


def forget_version(redis: Any, names: Names, view: View) -> None:
    """Take one version out of Redis: the position reached, the writer's state of it, then its entities."""
    fields = [name for name in redis.hkeys(state_key(names)) if name.decode().split("|")[1] == view.edits_topic]
    with redis.pipeline(transaction=True) as pipe:
        pipe.unlink(reached_positions.key(names, view))
        if fields:
            pipe.hdel(state_key(names), *fields)
        pipe.execute()
    keys = list(redis.scan_iter(match=names.redis_edits(view.name, view.version, "*"), count=1000))
    for begin in range(0, len(keys), 1000):
        redis.unlink(*keys[begin : begin + 1000])


def offsets(redis: Any, names: Names) -> dict[Partition, int]:
    """Where the writer goes on in each partition."""
    return _decode(
        {name: value for name, value in redis.hgetall(state_key(names)).items() if name[:7] == b"offset|"}
    ).offsets


def state_key(names: Names) -> str:
    """The hash with the writer's state, and with a field for each view that is being rebuilt."""
    return f"{names.tenant}:writer-redis:state"


def rebuild_field(topic: str) -> str:
    """The field that asks for tails of the view with this edits topic; its value is the rebuild's name."""
    return _REBUILD.decode() + topic


def _take_rebuilds(fields: dict[bytes, bytes]) -> dict[str, str]:
    """Edits topic → rebuild; they leave ``fields``."""
    found = [name for name in fields if name.startswith(_REBUILD)]
    return {name.removeprefix(_REBUILD).decode(): fields.pop(name).decode() for name in found}


def _mark(state: State, received: Received) -> None:
    """Take note of a marker; a channel never goes back."""
    edit: Edit = received.edit
    channels = state.channels.setdefault(received.view.edits_topic, {})
    channel = (received.message.partition() or 0, edit.channel)
    before = channels.get(channel)
    if before is None or before.position < edit.position:
        channels[channel] = Reached(edit.position, edit.known_at)


def _copy(state: State) -> State:
    channels = {topic: dict(seen) for topic, seen in state.channels.items()}
    return State(dict(state.offsets), channels, dict(state.newest))


def _encode(state: State) -> dict[bytes, bytes]:
    fields = {f"offset|{topic}|{partition}": b"%d" % offset for (topic, partition), offset in state.offsets.items()}
    for topic, seen in state.channels.items():
        for (partition, channel), reached in seen.items():
            fields[f"channel|{topic}|{partition}|{channel}"] = reached_positions.encode(reached)
    fields |= {f"newest|{topic}": b"%d" % time for topic, time in state.newest.items()}
    return {name.encode(): value for name, value in fields.items()}


def _decode(fields: Mapping[bytes, bytes]) -> State:
    state = State()
    for name, value in fields.items():
        kind, topic, *rest = name.decode().split("|", 3)
        if kind == "offset":
            state.offsets[topic, int(rest[0])] = int(value)
        elif kind == "newest":
            state.newest[topic] = int(value)
        elif (reached := reached_positions.decode(value)) is not None:
            state.channels.setdefault(topic, {})[int(rest[0]), rest[1]] = reached
    return state
