"""Sizes of batches: what the rule says of any lag, and that rows and bytes are bounded whatever comes."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import Consumer
from hypothesis import given
from hypothesis import strategies as st

from stream_jobs.batching import Batches, Bounds

_LAGS = st.integers(0, 10_000_000)


class _Record:
    def __init__(self, offset: int, size: int) -> None:
        self._offset, self._value = offset, b"x" * size

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "t"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def value(self) -> bytes:
        return self._value


class _Topic:
    """A consumer's side of one partition that holds records of these sizes, all fetched."""

    def __init__(self, sizes: list[int]) -> None:
        self._left = [_Record(offset, size) for offset, size in enumerate(sizes)]
        self._high = len(sizes)

    def get_watermark_offsets(self, partition: Any, cached: bool) -> tuple[int, int]:
        assert cached, "the broker is not asked for each batch"
        return 0, self._high

    def poll(self, seconds: float) -> _Record | None:
        return self._left.pop(0) if self._left else None

    def consume(self, most: int, seconds: float) -> list[_Record]:
        taken, self._left = self._left[:most], self._left[most:]
        return taken


def _batches(sizes: list[int], bounds: Bounds) -> Batches:
    return Batches(cast(Consumer, _Topic(sizes)), bounds)


@given(_LAGS, _LAGS, st.integers(1, 1_000), st.integers(0, 10_000))
def test_a_batch_grows_with_the_lag_within_its_bounds(one: int, other: int, smallest: int, more: int) -> None:
    bounds = Bounds(smallest, smallest + more)
    less, greater = sorted((one, other))
    assert smallest <= bounds.records(less) <= bounds.records(greater) <= smallest + more
    assert bounds.records(4 * smallest) == smallest, "near the head it is small"
    assert bounds.records(4 * (smallest + more)) == smallest + more


@given(st.lists(st.integers(1, 300), max_size=1_500))
def test_everything_comes_once_in_its_order(sizes: list[int]) -> None:
    batches = _batches(sizes, Bounds(7, 90, bytes=4_000))
    offsets: list[int | None] = []
    while batch := batches.take(0.0):
        assert len(batch) <= 90
        offsets += [message.offset() for message in batch]
    assert offsets == list(range(len(sizes))) and batches.lag() == 0


def test_the_first_batch_is_small_and_the_next_ones_follow_the_lag() -> None:
    batches = _batches([1] * 10_000, Bounds(200, 2_000))
    taken = [len(batches.take(0.0)) for _ in range(12)]
    assert taken[:2] == [200, 2_000], "nothing is known of the lag before the first record"
    assert taken[-1] < 700 and sorted(taken[1:], reverse=True) == taken[1:]


@pytest.mark.parametrize("size", [1_000, 1_000_000])
def test_large_records_end_a_batch_early(size: int) -> None:
    batches = _batches([size] * 600, Bounds(600, 600, bytes=300_000))
    batch = batches.take(0.0)
    assert len(batch) <= 300_000 // size + 201
