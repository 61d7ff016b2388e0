"""What HBase has reached by its markers, and the text that Prometheus reads."""

from __future__ import annotations

from typing import Any

from appliance.records import Edit
from stream_jobs.freshness.commands import table
from stream_jobs.freshness.measure import Freshness, ViewFreshness, prometheus
from stream_jobs.online.edits_topic import Batch, Received
from stream_jobs.online.hbase_progress import Channels, HBaseProgress
from stream_jobs.online.reached import Reached
from tests.unit.gateway.example import PLAN

VIEW = PLAN.views[0]


class _Message:
    def __init__(self, partition: int) -> None:
        self._partition = partition

    def partition(self) -> int:
        return self._partition


def _batch(offset: int, *markers: tuple[int, str, int]) -> Batch:
    """markers: edits partition, channel, position."""
    received: list[Any] = [
        Received(VIEW, _Message(number), Edit(0, f"{at:032x}", at, channel=channel))  # type: ignore[arg-type]
        for number, channel, at in markers
    ]
    return Batch(received, [], {(VIEW.edits_topic, 0): offset})


def test_reached_is_the_lowest_of_all_channels_and_never_goes_back() -> None:
    channels = Channels(HBaseProgress(reached={VIEW.edits_topic: Reached(f"{3:032x}", 3)}))
    channels.expect(VIEW, [(0, "a"), (1, "a")])
    reached = channels.progress.reached
    channels.written(_batch(1, (0, "a", 9)))
    assert reached[VIEW.edits_topic].known_at == 3, (
        "a channel has not spoken since the start: what was said still holds"
    )
    channels.written(_batch(2, (1, "a", 2)))
    assert reached[VIEW.edits_topic].known_at == 3
    channels.written(_batch(3, (1, "a", 7)))
    assert reached[VIEW.edits_topic] == Reached(f"{7:032x}", 7)
    assert channels.progress.as_offsets() == {(VIEW.edits_topic, 0): 3}


def test_what_is_not_known_is_left_out_of_the_metrics() -> None:
    fresh = ViewFreshness("v", 2, "redis", "0" * 32, 5_000_000, 1500, 1000, True, 7, 12.5)
    never = ViewFreshness("v", 2, "hbase", "", 0, None, None, True, 9, None)
    found = Freshness(10_000_000, [fresh, never])
    text = prometheus(found)
    assert 'appliance_reached_age_seconds{view="v",version="2",store="redis"} 1.5' in text
    assert 'appliance_lag_records{view="v",version="2",store="hbase"} 9' in text
    assert 'appliance_reached_age_seconds{view="v",version="2",store="hbase"}' not in text
    assert 'appliance_written_records_per_second{view="v",version="2",store="redis"} 12.5' in text
    names = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    assert names == {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    said = table(found)
    assert "never" in said and "2 of 2 are older" in said
