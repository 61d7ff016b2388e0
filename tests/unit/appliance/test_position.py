"""A position is what the oracle says, and grows in the order in which Debezium delivers."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import position
from appliance.records import ChangeSource
from tests.integration import flink_oracle as oracle


class _Placed(msgspec.Struct):
    source: ChangeSource
    appliance_base: str = "0"


def test_the_oracle_of_the_sql_agrees() -> None:
    compared = 0
    for record in oracle.records(2000, seed=11):
        if record.edits and record.value is not None:
            placed = msgspec.json.decode(record.value, type=_Placed)
            assert {position.of(placed.source, placed.appliance_base)} == {edit["position"] for edit in record.edits}
            compared += 1
    assert compared > 1500


@pytest.mark.parametrize("origin", oracle.NOWHERE)
def test_what_is_no_place_is_refused(origin: oracle.Row) -> None:
    with pytest.raises(ValueError, match=r"no pair of LSNs|place in a binlog|beyond 63 bits"):
        position.of(msgspec.convert(origin, ChangeSource))


def _postgres(last_commit: int | None, own: int, base: int, snapshot: str = "false") -> str:
    first = "null" if last_commit is None else f'"{last_commit}"'
    return position.of(ChangeSource(sequence=f'[{first},"{own}"]', snapshot=snapshot), str(base))


def test_a_transaction_that_began_before_the_snapshot_and_ended_after_it_sorts_after_it() -> None:
    """Seen on PostgreSQL 15: the slot's first LSN is 40330288, the first transaction's change stands at 40329280."""
    before, base, snapshot = 40_000_000, 40_100_000, 40_330_288
    order = [
        _postgres(before, before - 10, 0),
        _postgres(None, snapshot, base, "first"),
        _postgres(None, snapshot + 50, base, "last"),  # the snapshot taken again after a failure
        _postgres(None, 40_329_280, base),
        _postgres(None, snapshot, base),
        _postgres(40_330_424, 40_329_376, base),
        _postgres(40_330_424, 40_330_500, base, "incremental"),
        _postgres(40_330_512, 40_330_080, base),
    ]
    assert order == sorted(order)
    assert len(set(order)) == len(order)


_PLACE = st.tuples(st.integers(1, 10**9 - 1), st.integers(4, 10**18 - 1), st.integers(0, 10**9 - 1))


@given(_PLACE, _PLACE)
def test_places_in_a_binlog_sort_as_file_offset_and_row(
    left: tuple[int, int, int], right: tuple[int, int, int]
) -> None:
    def at(place: tuple[int, int, int]) -> str:
        return position.of(ChangeSource(file=f"mariadb-bin.{place[0]:06d}", pos=place[1], row=place[2]))

    assert (at(left) < at(right)) == (left < right)
    assert len(position.pack(at(left))) == 16
