"""The order of commits: time, labels before payments, then key; and the cut between history and replay."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from feature_repo.sample_data import Stream
from stream_jobs.sample.events import EventLog, split

_TIME = pa.timestamp("us", "UTC")


def _stream(table: str, rows: list[tuple[int, int]]) -> Stream:
    keys, times = zip(*rows, strict=True) if rows else ((), ())
    return Stream(table, "id", "at", pa.table({"id": pa.array(keys, pa.int64()), "at": pa.array(times, _TIME)}))


def _log(*streams: Stream, until: int = 0) -> EventLog:
    return EventLog([("id", "at", split(stream, until)[1]) for stream in streams])


def test_ties_are_broken_by_stream_then_key() -> None:
    log = _log(_stream("labels", [(9, 5), (4, 5)]), _stream("payments", [(2, 5), (1, 5), (3, 4)]))
    assert [(event.stream, event.key) for event in log.events(0, len(log))] == [(1, 3), (0, 4), (0, 9), (1, 1), (1, 2)]


def test_the_cut_is_exclusive() -> None:
    history, rest = split(_stream("payments", [(1, 10), (2, 9), (3, 11)]), 10)
    assert history["id"].to_pylist() == [2]
    assert rest["id"].to_pylist() == [1, 3]


@pytest.mark.parametrize("seed", range(5))
def test_any_slice_of_the_log_is_a_slice_of_the_sorted_rows(seed: int) -> None:
    chance = random.Random(seed)
    rows = [[(key, chance.randrange(20)) for key in chance.sample(range(1000), 60)] for _ in range(2)]
    log = _log(_stream("labels", rows[0]), _stream("payments", rows[1]))
    expected = sorted((at, number, key) for number in (0, 1) for key, at in rows[number])
    assert len(log) == len(expected)
    for _ in range(20):
        first = chance.randrange(len(log))
        last = chance.randrange(first, len(log)) + 1
        got = [(event.time_us, event.stream, event.key) for event in log.events(first, last)]
        assert got == expected[first:last]
        assert [event.values[0] for event in log.events(first, last)] == [key for _, _, key in expected[first:last]]
        keys = log.keys(first, last)
        assert [list(each) for each in keys] == [
            [key for _, number, key in expected[first:last] if number == stream] for stream in (0, 1)
        ]


def test_an_empty_stream_is_no_trouble() -> None:
    log = _log(_stream("labels", []), _stream("payments", [(1, 3)]))
    assert [event.key for event in log.events(0, 1)] == [1]
