"""Rows in one form, and every wrong field named."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.scoring import validate
from tests.unit.gateway.example import PLAN, ROW, SERVICE

KEYS = validate.key_columns(PLAN, SERVICE)


def _wrong(row: Any) -> list[str]:
    return [fault.field for fault in validate.requested(SERVICE, KEYS, row, "row")[1]]


def test_keys_are_the_event_key_and_the_join_keys() -> None:
    assert {"id", "customer_id"} == KEYS


def test_a_right_row_has_no_fault() -> None:
    assert validate.requested(SERVICE, KEYS, ROW, "row") == (ROW, [])


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2, allow_nan=False, allow_infinity=False))
def test_text_and_number_give_the_same_amount(amount: Decimal) -> None:
    as_text = validate.requested(SERVICE, KEYS, ROW | {"amount": f"{amount:f}"}, "row")
    on_the_wire = msgspec.json.decode(f"{amount:f}".encode())
    as_number = validate.requested(SERVICE, KEYS, ROW | {"amount": on_the_wire}, "row")
    from_capture = validate.captured(SERVICE, ROW | {"amount": f"{amount:f}"})
    assert as_text == as_number == from_capture
    assert as_text[1] == []


@pytest.mark.parametrize("value", ["2018-08-15T10:00:00Z", "2018-08-15T12:00:00+02:00", 1_534_327_200_000_000])
def test_a_time_is_microseconds_utc(value: Any) -> None:
    assert validate.requested(SERVICE, KEYS, ROW | {"at": value}, "row")[0]["at"] == 1_534_327_200_000_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("amount", math.nan), ("amount", math.inf), ("amount", "NaN"), ("amount", "1.234"), ("amount", True),
        ("amount", []), ("amount", "a lot"), ("amount", "1e400000000"), ("id", "7"), ("id", 1.5), ("id", 1 << 63),
        ("id", True), ("id", None), ("customer_id", None), ("at", "2018-08-15T10:00:00"), ("at", "yesterday"),
        ("at", 1.5), ("note", 5), ("other", 1),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    assert _wrong(ROW | {field: value}) == [f"row.{field}"]


def test_every_wrong_field_is_named() -> None:
    assert _wrong({"amount": "x", "foo": 1}) == ["row.amount", "row.customer_id", "row.foo", "row.id", "row.note"]


def test_only_the_event_time_may_be_left_out() -> None:
    row, faults = validate.requested(SERVICE, KEYS, {k: v for k, v in ROW.items() if k != "at"}, "row")
    assert faults == [] and "at" not in row


@pytest.mark.parametrize("row", [None, [], "row", 5])
def test_a_row_is_an_object(row: Any) -> None:
    assert _wrong(row) == ["row"]


def test_a_captured_row_may_have_nulls_but_no_null_key() -> None:
    row, faults = validate.captured(SERVICE, {"id": 1, "at": 5, "more": "columns"})
    assert faults == [] and row["amount"] is None and "more" not in row
    assert [fault.field for fault in validate.captured(SERVICE, {"at": 5})[1]] == ["id"]


@pytest.mark.parametrize("value", [1 << 62, -(1 << 62), "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
def test_a_time_that_calendars_cannot_work_with_is_refused(value: Any) -> None:
    assert _wrong(ROW | {"at": value}) == ["row.at"]
