"""A marker never claims more than the records seen prove."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from appliance.records import Marker
from stream_jobs.marker.progress import Point, Progress, decode, marker


def change(commit: int | None, own: int, *, op: str = "c", snapshot: str = "false") -> bytes:
    sequence = json.dumps([None if commit is None else str(commit), str(own)])
    return json.dumps({"op": op, "source": {"sequence": sequence, "ts_us": own * 10, "snapshot": snapshot}}).encode()


def take(progress: Progress, *values: bytes | None) -> str | None:
    for value in values:
        seen = decode(value)
        if seen is not None:
            progress.see(seen[0], marker=seen[1])
    progress.end_of_batch()
    return progress.claim.position if progress.claim else None


def at(commit: int, own: int) -> str:
    return f"{commit:016x}{own:016x}"


def test_claims_the_highest_change_of_a_batch_in_any_order() -> None:
    assert take(Progress(), change(5, 9), change(5, 7), change(4, 3)) == at(5, 9)


@pytest.mark.parametrize("kind", ["true", "first", "last", "incremental", "last_in_data_collection"])
def test_snapshot_rows_claim_nothing(kind: str) -> None:
    assert take(Progress(), change(None, 100, op="r", snapshot=kind)) is None


@pytest.mark.parametrize("value", [None, b"", b"no json", b"{}", b'{"op":"c","source":{"sequence":"[]"}}', b"[1]"])
def test_what_cannot_be_read_claims_nothing(value: bytes | None) -> None:
    assert decode(value) is None


def test_rows_of_one_wal_record_are_claimed_only_when_a_later_change_is_seen() -> None:
    progress = Progress()
    assert take(progress, change(5, 7)) == at(5, 7)
    assert take(progress, change(5, 9), change(5, 9)) == at(5, 7)
    assert take(progress, change(5, 9)) == at(5, 7)
    assert take(progress, change(6, 12)) == at(6, 12)


def test_a_restart_goes_on_at_the_highest_marker_or_change_found() -> None:
    found = Point(at(5, 9), 90)
    assert take(Progress(), change(5, 8), marker(found, ("t", 0))) == at(5, 9)
    assert take(Progress(), marker(found, ("t", 0)), change(5, 10)) == at(5, 10)


def test_own_markers_read_back_change_nothing() -> None:
    progress = Progress()
    take(progress, change(5, 9))
    claimed = progress.claim
    assert claimed is not None
    assert take(progress, marker(claimed, ("t", 0))) == claimed.position


def test_a_channel_is_due_until_told_and_again_when_not_delivered() -> None:
    progress = Progress()
    channels = [("a", 0), ("b", 1)]
    assert progress.due(channels) == []
    take(progress, change(1, 2))
    assert progress.due(channels) == channels
    for channel in channels:
        progress.told(channel, at(1, 2))
    assert progress.due(channels) == []
    progress.untold(("b", 1))
    assert progress.due([*channels, ("new", 0)]) == [("b", 1), ("new", 0)]
    take(progress, change(1, 3))
    assert progress.due(channels) == channels


def test_the_record_is_a_marker_that_flink_and_readers_know() -> None:
    raw = marker(Point(at(5, 9), 90), ("main.cdc.bank.public.t", 3))
    decoded = msgspec.json.decode(raw, type=Marker)
    assert (decoded.channel, decoded.position, decoded.source.ts_us) == ("main.cdc.bank.public.t/3", at(5, 9), 90)


@pytest.mark.parametrize("seed", range(30))
def test_never_claims_a_position_before_all_changes_up_to_it_are_in_the_logs(seed: int) -> None:
    """A source's changes in order, cut into Kafka transactions anywhere, read from three partitions in any order."""
    chance = random.Random(seed)
    stream, commit, own = [], 0, 1
    for _ in range(60):
        for _ in range(chance.randrange(1, 5)):
            own += chance.randrange(1, 4)
            stream.extend([(commit, own)] * chance.choice([1, 1, 1, 3]))
        commit = own = own + 1
    progress, logged = Progress(), 0
    while logged < len(stream):
        step = min(len(stream), logged + chance.randrange(2, 9))
        if 0 < step < len(stream) and stream[step] == stream[step - 1] != stream[step - 2]:
            step += 1
        batch = [change(*each) for each in stream[logged:step]]
        logged = step
        chance.shuffle(batch)
        claim = take(progress, *batch)
        assert all(at(*later) > claim for later in stream[logged:]) if claim else True
