"""Marker keys land in the partition they are meant for, by Kafka's own hash."""

from __future__ import annotations

import pytest

from stream_jobs.compiler.partitions import keys, murmur2, partition


@pytest.mark.parametrize(
    ("key", "hashed"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("abc", 479470107)],
)
def test_murmur2_gives_the_values_of_kafkas_own_tests(key: str, hashed: int) -> None:
    assert murmur2(key.encode()) == hashed % 2**32


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16])
def test_there_is_a_key_for_every_partition(count: int) -> None:
    assert [partition(key.encode(), count) for key in keys(count)] == list(range(count))
