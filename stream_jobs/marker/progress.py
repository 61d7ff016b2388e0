"""How far a source has been read, from the records seen in its topics. Pure; the reasons stand in ADR 0002."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from appliance import position
from appliance.records import ChangeSource, Marker


class Seen(msgspec.Struct, frozen=True):
    """What is read of a record of a captured topic: a change or a marker of ours."""

    op: str
    source: ChangeSource
    position: str = ""
    appliance_base: str = "0"


Channel = tuple[str, int]
_DECODER = msgspec.json.Decoder(Seen)


def going_on(assigned: Mapping[Channel, int], told: Iterable[tuple[str, int, int]]) -> dict[Channel, int]:
    """The offset from which each assigned channel is read on when more are assigned with it.

    told: (topic, partition, offset) as the consumer says, the offset negative where nothing has come since it was
    assigned: such a channel keeps the offset it was assigned. Records seen before must not come again, since they
    would look like positions that went back.
    """
    return {**assigned, **{(topic, partition): offset for topic, partition, offset in told if offset >= 0}}


@dataclass(frozen=True, order=True)
class Point:
    """A position with the commit time (µs) of the change there."""

    position: str
    known_at: int


@dataclass(frozen=True)
class Sight:
    """What a record says. kind: a change, a truncate (a change too), or a marker of ours."""

    point: Point
    kind: Literal["change", "truncate", "marker"]


def decode(value: bytes | None) -> Sight | None:
    """None for what gives no position.

    None: tombstones, snapshot rows (their positions lie outside the order of the stream), deletes made by ``mender``
    (theirs were claimable before), and what cannot be read (its readers send it to their dead-letter topics; here it
    claims nothing).
    """
    if value is None:
        return None
    try:
        seen = _DECODER.decode(value)
        if seen.op == "m":
            position.pack(seen.position)
            return Sight(Point(seen.position, seen.source.ts_us), "marker")
        if seen.source.snapshot != "false" or seen.source.made_by:
            return None
        point = Point(position.of(seen.source, seen.appliance_base), seen.source.ts_us)
        return Sight(point, "truncate" if seen.op == "t" else "change")
    except (msgspec.DecodeError, ValueError, TypeError):
        return None


@dataclass
class _Probe:
    """number: of this process's probes. point: what may be claimed when no channel is waited for any more."""

    number: int
    point: Point
    waiting: set[Channel]


def _later(one: Point | None, other: Point) -> Point:
    return other if one is None or other > one else one


def _below(point: Point, limit: str | None) -> bool:
    return limit is None or point.position < limit


@dataclass
class Progress:
    """Of one source.

    ``candidate`` is the highest position of which it is certain that every change up to it stands in the logs. Rows
    that one WAL record brings (COPY) share a position; while more than one change was seen at the highest position,
    more may follow, and the candidate stays at the one before.

    ``claim`` is what markers say. A candidate becomes the claim when this process has itself read all that stood in
    the logs when it was found (``probe``), so that it has seen every truncate up to it, and none of them holds it back.
    """

    highest: Point | None = None
    candidate: Point | None = None
    claim: Point | None = None
    _shared: bool = False
    _told: dict[Channel, str] = field(default_factory=dict)
    _probe: _Probe | None = None
    _probes: int = 0

    def see(self, sight: Sight) -> None:
        """Take in a record. Records of one batch may come in any order."""
        point = sight.point
        if sight.kind == "marker":
            self.claim, self.candidate = _later(self.claim, point), _later(self.candidate, point)
        if self.highest is None or point.position > self.highest.position:
            if self.highest is not None:
                self.candidate = _later(self.candidate, self.highest)
            self.highest, self._shared = point, False
        elif sight.kind != "marker" and point.position == self.highest.position:
            self._shared = True

    def end_of_batch(self) -> None:
        """Everything of this batch has been seen: the highest position is a candidate, unless it is shared."""
        if self.highest is not None and not self._shared:
            self.candidate = _later(self.candidate, self.highest)

    @property
    def probing(self) -> bool:
        """Whether an answer to a probe is awaited."""
        return self._probe is not None

    def probe(self, channels: list[Channel], limit: str | None) -> int | None:
        """Number of a probe that must now be put into every channel; None if there is nothing to find out.

        limit: only positions below it may be claimed now; None: any.
        """
        if self._probe is not None or self.candidate is None or not channels or not _below(self.candidate, limit):
            return None
        if self.claim is not None and self.candidate <= self.claim:
            return None
        self._probes += 1
        self._probe = _Probe(self._probes, self.candidate, set(channels))
        return self._probes

    def answer(self, channel: Channel, number: int) -> None:
        """The probe of that number was read in the channel: all that stood before it has been seen."""
        if self._probe is not None and self._probe.number == number:
            self._probe.waiting.discard(channel)

    def give_up(self, number: int) -> None:
        """A probe did not get into its channel; another one will."""
        if self._probe is not None and self._probe.number == number:
            self._probe = None

    def decide(self, limit: str | None) -> None:
        """Claim the probed position if every channel has answered and ``limit`` lets it."""
        if self._probe is not None and not self._probe.waiting:
            if _below(self._probe.point, limit):
                self.claim = _later(self.claim, self._probe.point)
            self._probe = None

    def due(self, channels: list[Channel]) -> list[Channel]:
        """Channels that have not been told the claim yet."""
        claim = self.claim
        if claim is None:
            return []
        return [channel for channel in channels if self._told.get(channel, "") < claim.position]

    def told(self, channel: Channel, claimed: str) -> None:
        """The marker for this channel was handed to the producer."""
        self._told[channel] = claimed

    def untold(self, channel: Channel) -> None:
        """The marker did not get there: it is due again."""
        self._told.pop(channel, None)


def marker(point: Point, channel: Channel) -> bytes:
    """The record for one partition of a captured topic."""
    topic, partition = channel
    return msgspec.json.encode(
        Marker(
            op="m",
            source=ChangeSource(ts_us=point.known_at, schema="appliance_cdc", table="marker"),
            channel=f"{topic}/{partition}",
            position=point.position,
        )
    )
