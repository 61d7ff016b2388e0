"""How far a source has been read, from the records seen in its topics. Pure; the reasons stand in ADR 0002."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from appliance import position
from appliance.records import ChangeSource, Marker


class Seen(msgspec.Struct, frozen=True):
    """What is read of a record of a captured topic: a change or a marker of ours."""

    op: str
    source: ChangeSource
    position: str = ""
    appliance_base: str = "0"


_DECODER = msgspec.json.Decoder(Seen)


@dataclass(frozen=True, order=True)
class Point:
    """A position with the commit time (µs) of the change there."""

    position: str
    known_at: int


def decode(value: bytes | None) -> tuple[Point, bool] | None:
    """(point, whether it is a marker of ours); None for what gives no position.

    None: tombstones, snapshot rows (their positions lie outside the order of the stream), truncates without a
    position, and what cannot be read (its readers send it to their dead-letter topics; here it claims nothing).
    """
    if value is None:
        return None
    try:
        seen = _DECODER.decode(value)
        if seen.op == "m":
            position.pack(seen.position)
            return Point(seen.position, seen.source.ts_us), True
        if seen.source.snapshot != "false":
            return None
        return Point(position.of(seen.source, seen.appliance_base), seen.source.ts_us), False
    except (msgspec.DecodeError, ValueError, TypeError):
        return None


@dataclass
class Progress:
    """Of one source.

    ``claim`` is the highest position of which it is certain that every change up to it stands in the logs. Rows that
    one WAL record brings (COPY) share a position; while more than one change was seen at the highest position, more may
    follow, and the claim stays at the one before.
    """

    highest: Point | None = None
    claim: Point | None = None
    _shared: bool = False
    _told: dict[tuple[str, int], str] = field(default_factory=dict)

    def see(self, point: Point, *, marker: bool) -> None:
        """Take in a record. Records of one batch may come in any order."""
        if marker and (self.claim is None or point > self.claim):
            self.claim = point
        if self.highest is None or point.position > self.highest.position:
            if self.highest is not None and (self.claim is None or self.highest > self.claim):
                self.claim = self.highest
            self.highest, self._shared = point, False
        elif not marker and point.position == self.highest.position:
            self._shared = True

    def end_of_batch(self) -> None:
        """Everything of this batch has been seen: claim the highest position, unless it is shared."""
        if self.highest is not None and not self._shared and (self.claim is None or self.highest > self.claim):
            self.claim = self.highest

    def due(self, channels: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Channels that have not been told the claim yet."""
        claim = self.claim
        if claim is None:
            return []
        return [channel for channel in channels if self._told.get(channel, "") < claim.position]

    def told(self, channel: tuple[str, int], claimed: str) -> None:
        """The marker for this channel was handed to the producer."""
        self._told[channel] = claimed

    def untold(self, channel: tuple[str, int]) -> None:
        """The marker did not get there: it is due again."""
        self._told.pop(channel, None)


def marker(point: Point, channel: tuple[str, int]) -> bytes:
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
