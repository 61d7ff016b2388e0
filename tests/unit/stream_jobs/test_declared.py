"""What of a table no longer is as the features declare it, and that the administrator is told what to do."""

from __future__ import annotations

import pytest

from stream_jobs.plan import CapturedTable, Column, ColumnType
from stream_jobs.source.check import Check
from stream_jobs.source.declared import Actual, compare

_TABLE = CapturedTable(
    "bank", "public.payments", "main.cdc.bank.public.payments", ("id",),
    (Column("id", "int64"), Column("amount", "decimal", 2), Column("at", "timestamp_us"), Column("note", "string")),
    "at", True,
)  # fmt: skip
_COLUMNS = {"id": "bigint", "amount": "numeric(12,2)", "at": "timestamp with time zone", "note": "text"}


def _columns(**changed: str) -> Check:
    return compare(_TABLE, Actual({**_COLUMNS, **changed}, ("id",)))[0]


def test_a_table_as_declared_passes() -> None:
    assert all(check.ok for check in compare(_TABLE, Actual(_COLUMNS, ("id",))))


def test_an_added_column_is_named_and_no_fault() -> None:
    check = _columns(channel="text")
    assert check.ok
    assert check.found.endswith("not declared and not kept: channel")


def test_a_renamed_column_is_named_with_what_to_do() -> None:
    renamed = {name: kind for name, kind in _COLUMNS.items() if name != "amount"} | {"total": "numeric(12,2)"}
    check, _ = compare(_TABLE, Actual(renamed, ("id",)))
    assert not check.ok
    assert check.found == "public.payments has no column amount"
    assert "dead letters" in check.todo
    assert "appliance features apply" in check.todo


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"id": "text"}, "is declared int64 and is text"),
        ({"id": "bigint(20) unsigned"}, "is bigint(20) unsigned"),
        ({"id": "tinyint(1)"}, "is tinyint(1)"),
        ({"amount": "numeric(12,4)"}, "with 2 digits after the point"),
        ({"amount": "double precision"}, "is double precision"),
        ({"at": "date"}, "is date"),
        ({"note": "integer"}, "is integer"),
    ],
)
def test_a_changed_type_is_a_fault(changed: dict[str, str], word: str) -> None:
    check = _columns(**changed)
    assert not check.ok
    assert word in check.found
    assert check.todo


@pytest.mark.parametrize(
    ("kind", "actual"),
    [
        ("int64", "int(11)"), ("int64", "smallint(5) unsigned"), ("int64", "tinyint(4)"), ("int64", "date"),
        ("bool", "tinyint(1)"), ("bool", "boolean"), ("bool", "bit(1)"), ("float64", "double"),
        ("decimal", "decimal(12,2)"), ("decimal", "numeric"), ("timestamp_us", "datetime(3)"),
        ("timestamp_us", "timestamp(0) without time zone"), ("string", "enum('a','b')"), ("string", "varchar(20)"),
        ("string", "uuid"), ("string", "numeric(3,1)"),
    ],
)  # fmt: skip
def test_types_of_both_databases_that_fit(kind: ColumnType, actual: str) -> None:
    table = CapturedTable("s", "a.b", "t", ("x",), (Column("x", kind, 2),), "", False)
    assert all(check.ok for check in compare(table, Actual({"x": actual}, ("x",))))


def test_another_key_than_declared_is_a_fault() -> None:
    _, check = compare(_TABLE, Actual(_COLUMNS, ("id", "at")))
    assert (check.ok, check.found) == (False, "id, at")
    assert "take id for the primary key" in check.todo
