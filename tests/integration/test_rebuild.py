"""Rebuilding from the lake on the running appliance: the lake's edits are Flink's, and stores filled anew are right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from appliance.records import Edit
from stream_jobs import plan as plans
from stream_jobs.online.packed import RowLayout
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild import from_lake, held

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def plan(live: Context) -> Plan:
    return plans.read(live.layout.plan_file)


def _named(layout: RowLayout, edit: Edit) -> tuple[str, bytes]:
    """An edit by value: entity, and the packed record, which holds all the rest but the text of its decimals."""
    return edit.entity, layout.encode(edit)


def _from_topic(context: Context, view: View) -> Iterator[Edit]:
    """Every edit that Flink has written, up to the ends of now."""
    consumer = kafka.consumer(context, users.ADMINISTRATOR, "main.test.rebuild", **{"enable.partition.eof": True})
    partitions = consumer.list_topics(view.edits_topic, timeout=10).topics[view.edits_topic].partitions
    consumer.assign([TopicPartition(view.edits_topic, number, 0) for number in partitions])
    left = len(partitions)
    decoder = msgspec.json.Decoder(Edit)
    while left:
        for message in consumer.consume(10_000, 1.0):
            if message.error() is not None:
                left -= 1
            elif (edit := decoder.decode(message.value() or b"")).sign:
                yield edit
    consumer.close()


def test_the_lakes_edits_are_those_that_flink_made(live: Context, plan: Plan) -> None:
    consumer = held.consumer(live)
    for view in plan.views:
        layout, table = RowLayout.of(plan, view), from_lake.captured(plan, view)
        version = held.wait(live, table, consumer, held.ends(table, consumer), 30)
        lake = {_named(layout, edit) for some in from_lake.edits(live, plan, view, version.version) for edit in some}
        deadline = time.monotonic() + 30
        while True:
            flink: set[Any] = {_named(layout, edit) for edit in _from_topic(live, view)}
            if lake <= flink or time.monotonic() > deadline:
                break
        assert lake, f"the lake has no edit of {view.name}"
        assert not lake - flink, f"{len(lake - flink)} edits of {view.name} are in the lake alone"
        again = held.wait(live, table, consumer, held.ends(table, consumer), 30)
        later = {_named(layout, edit) for some in from_lake.edits(live, plan, view, again.version) for edit in some}
        assert not flink - later, f"{len(flink - later)} edits of {view.name} are Flink's alone"
    consumer.close()
