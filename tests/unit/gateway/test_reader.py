"""Offsets to commit."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.reader import next_offsets


@dataclass(frozen=True)
class Record:
    """As much of a Kafka record as says where it stands."""

    where: tuple[str, int, int]

    def topic(self) -> str:
        return self.where[0]

    def partition(self) -> int:
        return self.where[1]

    def offset(self) -> int:
        return self.where[2]


def test_each_partition_goes_on_behind_its_last_record() -> None:
    records = [Record(("a", 0, 5)), Record(("a", 1, 9)), Record(("a", 0, 4)), Record(("b", 0, 0))]
    found = {(p.topic, p.partition): p.offset for p in next_offsets(records)}  # type: ignore[arg-type]
    assert found == {("a", 0): 6, ("a", 1): 10, ("b", 0): 1}
