"""A marker never claims more than the records seen prove."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from appliance.records import Marker
from stream_jobs.marker.progress import Channel, Point, Progress, decode, going_on, marker


def change(commit: int | None, own: int, *, op: str = "c", snapshot: str = "false") -> bytes:
    sequence = json.dumps([None if commit is None else str(commit), str(own)])
    return json.dumps({"op": op, "source": {"sequence": sequence, "ts_us": own * 10, "snapshot": snapshot}}).encode()


def take(progress: Progress, *values: bytes | None) -> str | None:
    for value in values:
        seen = decode(value)
        if seen is not None:
            progress.see(seen)
    progress.end_of_batch()
    return progress.candidate.position if progress.candidate else None


def _answered(progress: Progress, channels: list[Channel], limit: str | None = None) -> None:
    number = progress.probe(channels, limit)
    assert number is not None
    for channel in channels:
        progress.answer(channel, number)
    progress.decide(limit)


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
    claimed = progress.candidate
    assert claimed is not None
    assert take(progress, marker(claimed, ("t", 0))) == claimed.position


def test_a_channel_is_due_until_told_and_again_when_not_delivered() -> None:
    progress = Progress()
    channels = [("a", 0), ("b", 1)]
    assert progress.due(channels) == []
    take(progress, change(1, 2))
    assert progress.due(channels) == [], "nobody has made sure yet"
    _answered(progress, channels)
    assert progress.due(channels) == channels
    for channel in channels:
        progress.told(channel, at(1, 2))
    assert progress.due(channels) == []
    progress.untold(("b", 1))
    assert progress.due([*channels, ("new", 0)]) == [("b", 1), ("new", 0)]
    take(progress, change(1, 3))
    _answered(progress, channels)
    assert progress.due(channels) == channels


def test_the_record_is_a_marker_that_flink_and_readers_know() -> None:
    raw = marker(Point(at(5, 9), 90), ("main.cdc.bank.public.t", 3))
    decoded = msgspec.json.decode(raw, type=Marker)
    assert (decoded.channel, decoded.position, decoded.source.ts_us) == ("main.cdc.bank.public.t/3", at(5, 9), 90)


def test_a_position_is_claimed_when_every_channel_has_answered() -> None:
    progress, channels = Progress(), [("a", 0), ("b", 1)]
    take(progress, change(5, 9))
    number = progress.probe(channels, None)
    assert number is not None and progress.probing and progress.probe(channels, None) is None
    progress.answer(("a", 0), number)
    progress.decide(None)
    assert progress.claim is None
    take(progress, change(5, 11))
    progress.answer(("b", 1), number)
    progress.decide(None)
    assert progress.claim == Point(at(5, 9), 90), "what came after the probe was sent is not claimed by it"
    later = progress.probe(channels, None)
    assert later is not None
    progress.answer(("a", 0), number)
    progress.give_up(later)
    assert not progress.probing and progress.probe(channels, None) == later + 1


def test_nothing_from_a_truncate_on_is_claimed_while_it_holds() -> None:
    progress, channels = Progress(), [("a", 0)]
    take(progress, change(5, 9))
    number = progress.probe(channels, None)
    assert number is not None
    take(progress, change(5, 8, op="t"))
    progress.answer(("a", 0), number)
    progress.decide(at(5, 8))
    assert progress.claim is None and progress.probe(channels, at(5, 8)) is None
    _answered(progress, channels)
    assert progress.claim == Point(at(5, 9), 90)
    take(progress, change(5, 10))
    assert progress.probe(channels, "") is None, "a lost log holds everything"


def test_a_truncate_is_told_from_other_changes_and_our_own_deletes_are_none() -> None:
    truncate, made = decode(change(5, 8, op="t")), decode(change(5, 8, op="d").replace(b"{", b'{"x": 0, ', 1))
    assert truncate is not None and truncate.kind == "truncate" and truncate.point == Point(at(5, 8), 80)
    assert made is not None and made.kind == "change"
    assert decode(change(5, 8, op="d").replace(b'"ts_us"', b'"made_by": "mender", "ts_us"')) is None


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


def test_a_channel_of_which_nothing_has_come_is_read_from_where_it_was_assigned() -> None:
    assigned = {("a", 0): 1_000, ("b", 0): 7}
    assert going_on(assigned, [("a", 0, -1001), ("b", 0, 9)]) == {("a", 0): 1_000, ("b", 0): 9}
