"""A view with derived columns and a filter of rows over the lake, against plain Python on rows transformed by hand."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream_jobs.expressions.parsing import canonical, parse
from stream_jobs.lake.reading import connect
from stream_jobs.plan import Expression, View, WindowFeature
from tests.unit.stream_jobs.offline import oracle, world
from tests.unit.stream_jobs.offline.test_join import answers, differences

_HOUR = 3_600_000_000
_READS = ("amount", "code", "online", "added")
_COLUMNS = {column.name: column for column in world.TABLE.columns if column.name in _READS}
_DERIVED = {"fee": "amount * 0.5 + code", "good": "added <> 'x' OR online", "label": "CASE WHEN online THEN added END"}
_ROWS = "code IS NULL OR code > -3"


def _view() -> View:
    nodes = {name: parse(text, _COLUMNS, name) for name, text in _DERIVED.items()}
    return msgspec.structs.replace(
        world.VIEW,
        columns=(*world.VIEW.columns, *(node.result(name) for name, node in nodes.items())),
        features=(
            WindowFeature("rows", "count", None, 5 * _HOUR),
            WindowFeature("good_rows", "count", None, 4 * _HOUR, where="good"),
            WindowFeature("fee_sum", "sum", "fee", 4 * _HOUR),
            WindowFeature("fee_mean_good", "mean", "fee", 3 * _HOUR, where="good", default=0),
            WindowFeature("points_sum", "sum", "code", 4 * _HOUR),
        ),
        derived=tuple(Expression(name, text, canonical(nodes[name])) for name, text in _DERIVED.items()),
        rows=Expression("", _ROWS, canonical(parse(_ROWS, _COLUMNS, "rows"))),
        reads=tuple(_COLUMNS.values()),
    )


ADDITIVE = _view()
"""Sums alone: unchanged rows are not joined."""
JOINED = msgspec.structs.replace(
    ADDITIVE, features=(*ADDITIVE.features, WindowFeature("labels", "count_distinct", "label", 4 * _HOUR),
                        WindowFeature("fee_last", "last", "fee", 4 * _HOUR))
)  # fmt: skip


def _kept(row: dict[str, Any]) -> bool:
    return row["code"] is None or row["code"] > -3


def _by_hand(row: dict[str, Any]) -> dict[str, Any]:
    """The derived columns, written out in Python."""
    amount, code, online, added = (row[name] for name in _READS)
    known = None not in (amount, code)
    other = None if added is None else added != "x"
    good = True if True in (other, online) else None if None in (other, online) else False
    return row | {
        "fee": amount * Decimal("0.5") + code if known else None,
        "good": good,
        "label": added if online else None,
    }


def _transformed(event: oracle.Event) -> oracle.Event:
    if event.row is None or event.op == "d":
        return event
    if not _kept(event.row):
        return oracle.Event("d", event.position, event.known_us, event.row)
    return oracle.Event(event.op, event.position, event.known_us, _by_hand(event.row))


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    return connect(Path(tmp_path_factory.mktemp("scratch")))


@pytest.mark.parametrize("in_hand", [False, True])
@pytest.mark.parametrize("view", [ADDITIVE, JOINED], ids=["sums", "joined"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_derived_columns_and_a_filter_are_what_plain_python_makes_of_the_rows(
    connection: duckdb.DuckDBPyConnection, view: View, in_hand: bool, data: st.DataObject
) -> None:
    events = data.draw(world.histories())
    asked = data.draw(st.lists(world.questions("position", in_hand), min_size=1, max_size=12))
    found = answers(connection, view, events, asked, "position", in_hand)
    seen = [_transformed(event) for event in events]
    for question, row in zip(asked, found, strict=True):
        hand, left = question.in_hand, seen
        if hand is not None and not _kept(hand):  # it takes its stored row out, and is none itself
            left = [event for event in seen if event.row is None or event.row["id"] != hand["id"]]
            hand = None
        elif hand is not None:
            hand = _by_hand(hand)
        assert differences(view, left, [dataclasses.replace(question, in_hand=hand)], [row]) == []
