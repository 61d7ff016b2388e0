"""Watches that positions never fall within a partition: everything that is claimed rests on it (ADR 0012).

They fall when a database is replaced by another one, restored, or counts its log anew, and its connector goes on. Then
nothing more is claimed of that source, until it is removed and added again: what was claimed stays true, and features
stand still instead of being wrong.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance import notices
from appliance.layout import Layout
from stream_jobs.marker.progress import Channel, Sight


def notice(source: str) -> str:
    """Name of the notice; while it is posted, nothing is claimed of the source."""
    return f"source-went-back-{source}"


@dataclass
class Order:
    """The highest position seen in each partition of a source's topics."""

    _highest: dict[Channel, str] = field(default_factory=dict)

    def broken(self, channel: Channel, sight: Sight) -> str | None:
        """The position before, if this record's lies below it. A record at the same position does not."""
        before = self._highest.get(channel, "")
        if sight.kind != "marker" and sight.point.position < before:
            return before
        self._highest[channel] = max(before, sight.point.position)
        return None


def post(layout: Layout, source: str, channel: Channel, before: str, now: str) -> None:
    """Say so to the operator, and to the next marker process."""
    notices.post(
        layout, notice(source),
        f"Positions of source {source} went back, in {channel[0]}/{channel[1]} from {before} to {now}: its database "
        "was replaced or restored, or counts its log anew; its features stand still",
        f"appliance source remove {source}, then appliance source add {source} …, which begins above all that was read",
    )  # fmt: skip
