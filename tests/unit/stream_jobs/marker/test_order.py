"""Positions that go back are seen, those that may come are not mistaken for it."""

from __future__ import annotations

from pathlib import Path

from appliance import notices
from appliance.layout import Layout
from stream_jobs.marker import order
from stream_jobs.marker.order import Order
from stream_jobs.marker.progress import Point, Sight

CHANNEL = ("t", 0)


def change(position: str) -> Sight:
    return Sight(Point(position, 0), "change")


def test_what_grows_or_repeats_is_in_order_in_each_partition_for_itself() -> None:
    seen = Order()
    assert [seen.broken(CHANNEL, change(each)) for each in ("1", "2", "2", "5")] == [None] * 4
    assert seen.broken(("t", 1), change("3")) is None


def test_a_change_below_an_earlier_one_or_below_a_claim_is_out_of_order() -> None:
    seen = Order()
    seen.broken(CHANNEL, change("2"))
    assert seen.broken(CHANNEL, change("1")) == "2"
    assert seen.broken(CHANNEL, Sight(Point("7", 0), "marker")) is None
    assert seen.broken(CHANNEL, change("6")) == "7"
    assert seen.broken(CHANNEL, change("8")) is None


def test_a_marker_of_a_lower_claim_is_in_order() -> None:
    seen = Order()
    seen.broken(CHANNEL, change("5"))
    assert seen.broken(CHANNEL, Sight(Point("4", 0), "marker")) is None
    assert seen.broken(CHANNEL, change("4")) == "5"


def test_the_notice_stays_until_it_is_taken_back(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    order.post(layout, "shop", CHANNEL, "2", "1")
    (posted,) = notices.read(layout)
    assert posted.name == order.notice("shop")
    assert "t/0 from 2 to 1" in posted.sentence
    assert "appliance source remove shop" in posted.hint
