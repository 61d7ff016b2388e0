from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest

from stream_jobs.lake.decode import ChangeDecoder
from stream_jobs.lake.records import Raw
from tests.unit.stream_jobs.lake.changes import COMMITTED_US, TABLE, change, row


def _decode(records: list[Raw], time_zone: str = "UTC") -> tuple[list[dict[str, Any]], list[tuple[int, str]]]:
    decoded = ChangeDecoder(TABLE, time_zone).decode(records)
    rows = [each for batch in decoded.rows for each in batch.to_pylist()]
    return rows, [(broken.raw.offset, broken.error.code) for broken in decoded.broken]


def _us(at: datetime.datetime) -> int:
    return (at - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)


def test_a_change_of_mariadb_has_its_place_in_the_binlog() -> None:
    place = {"sequence": None, "file": "mariadb-bin.000012", "pos": 8774, "row": 2}
    rows, broken = _decode([change("c", 5, row(1), **place), change("c", 6, row(2), **place | {"pos": 0})])
    assert [got["position"] for got in rows] == [f"{12:08x}{8774:016x}{2:08x}"]
    assert broken == [(6, "lake.broken_change")]


def test_an_update_has_both_images_and_its_commit() -> None:
    rows, broken = _decode([change("u", 5, row(1, balance="-3.10"), row(1, closed=True))])
    assert not broken
    (got,) = rows
    assert (got["op"], got["partition"], got["offset"], got["assumed"]) == ("u", 0, 5, False)
    assert got["position"] == f"{1005:016x}{2005:016x}"
    assert _us(got["known_at"]) == COMMITTED_US + 5
    assert got["commit_date"] == datetime.date(2025, 11, 23)
    assert got["after_balance"] == Decimal("-3.10") and got["before_balance"] == Decimal("10.25")
    assert got["after_closed"] is None and got["before_closed"] is True
    assert got["after_name"] == "zoë" and got["after_rate"] == 0.5
    assert _us(got["after_opened"]) == 1_522_540_831_500_000


def test_a_snapshot_row_is_known_at_its_event_time_and_says_that_this_is_assumed() -> None:
    rows, _ = _decode([change("r", 0, row(1)), change("r", 1, row(2, opened=None))])
    assert [each["assumed"] for each in rows] == [True, True]
    assert _us(rows[0]["known_at"]) == 1_522_540_831_500_000
    assert _us(rows[1]["known_at"]) == COMMITTED_US + 1, "a row without event time is known from its capture on"
    assert rows[0]["commit_date"] == datetime.date(2025, 11, 23), "partitioned by the day of the capture"


def test_markers_and_tombstones_are_no_rows() -> None:
    marker = Raw(TABLE.topic, 0, 1, b'{"op":"m","source":{"ts_us":5},"channel":"x/0","position":"' + b"0" * 32 + b'"}')
    assert _decode([marker, Raw(TABLE.topic, 0, 2, None)]) == ([], [])


def test_a_delete_needs_only_its_key_and_a_truncate_nothing() -> None:
    rows, broken = _decode([change("d", 0, None, {"id": 3}), change("t", 1)])
    assert not broken
    assert (rows[0]["before_id"], rows[0]["before_balance"], rows[0]["after_id"]) == (3, None, None)
    assert (rows[1]["op"], rows[1]["before_id"], rows[1]["after_id"]) == ("t", None, None)


@pytest.mark.parametrize(
    ("broken", "code"),
    [
        (Raw(TABLE.topic, 0, 7, b"{"), "lake.broken_change"),
        (Raw(TABLE.topic, 0, 7, b'"text"'), "lake.broken_change"),
        (change("x", 7, row(1)), "lake.broken_change"),
        (change("c", 7), "lake.broken_change"),
        (change("d", 7, row(1)), "lake.broken_change"),
        (change("c", 7, row(1), sequence="not json"), "lake.broken_change"),
        (change("c", 7, row(1), ts_us=0), "lake.broken_change"),
        (change("c", 7, row(1, id="one")), "lake.broken_change"),
        (change("c", 7, row(1, balance="1.005")), "lake.broken_value"),
        (change("c", 7, row(1, balance="NaN")), "lake.broken_value"),
        (change("c", 7, row(1, opened="infinity")), "lake.broken_value"),
        (change("c", 7, row(2**63)), "lake.broken_value"),
    ],
)
def test_only_the_broken_record_is_put_aside(broken: Raw, code: str) -> None:
    around = [change("c", offset, row(offset)) for offset in range(5)]
    rows, aside = _decode([*around[:3], broken, *around[3:]])
    assert [each["after_id"] for each in rows] == [0, 1, 2, 3, 4]
    assert aside == [(7, code)]


def test_a_time_without_zone_is_read_in_the_time_zone_of_its_source() -> None:
    rows, _ = _decode([change("c", 0, row(1, opened=1_522_540_831_000_000))], "Europe/Berlin")
    assert _us(rows[0]["after_opened"]) == 1_522_540_831_000_000 - 2 * 3_600_000_000
