"""Whether a captured table is as the applied features declare it: columns, types and key, with what to do where not."""

from __future__ import annotations

import re
from dataclasses import dataclass

from stream_jobs.plan import CapturedTable, Column, ColumnType
from stream_jobs.source.check import Check

_CHANGE = "change its source in feature_repo and say `appliance features apply`"


@dataclass(frozen=True)
class Actual:
    """A table as it is. columns: name → type as the database writes it. key: columns of its primary key."""

    columns: dict[str, str]
    key: tuple[str, ...]


_FITTING: dict[ColumnType, str] = {
    "int64": r"(tinyint(?!\(1\))|smallint|mediumint|int|integer|bigint)(\(\d+\))?( unsigned)?( zerofill)?|date|year.*"
    r"|time(\(\d\))?( without time zone)?|oid",
    "decimal": r"(numeric|decimal)(\((?P<precision>\d+),(?P<scale>\d+)\))?( unsigned)?( zerofill)?",
    "float64": r"real|double precision|float.*|double.*",
    "bool": r"boolean|tinyint\(1\)|bit\(1\)",
    "timestamp_us": r"timestamp.*|datetime.*",
}
_NOT_TEXT = re.compile(
    r"boolean|tinyint.*|smallint.*|mediumint.*|int.*|bigint.*|real|double.*|float.*|date"
    r"|time(\(\d\))?( without time zone)?|timestamp(\(\d\))?( without time zone)?|datetime.*|year.*"
    r"|bit.*|bytea|.*blob|(var)?binary.*"
)
"""Database types that Debezium does not write as text."""


def compare(declared: CapturedTable, actual: Actual) -> list[Check]:
    """Its columns and its key."""
    table = declared.table
    faults = [
        fault
        for column in declared.columns
        if (fault := _fault(table, column, actual.columns.get(column.name))) is not None
    ]
    more = sorted(actual.columns.keys() - {column.name for column in declared.columns})
    found = f"{len(declared.columns)} declared" + (f"; not declared and not kept: {', '.join(more)}" if more else "")
    keyed = actual.key == declared.primary_key
    return [
        Check(f"columns of {table}", not faults, "; ".join(fault for fault, _ in faults) or found,
              "; ".join(dict.fromkeys(todo for _, todo in faults))),
        Check(f"declared key of {table}", keyed, ", ".join(actual.key) or "none",
              "" if keyed else f"the features take {', '.join(declared.primary_key)} for the primary key: {_CHANGE}"),
    ]  # fmt: skip


def _fault(table: str, column: Column, actual: str | None) -> tuple[str, str] | None:
    """What is wrong with a column, and what to do."""
    name, declared = column.name, f"{column.name} is declared {column.type}"
    if actual is None:
        return f"{table} has no column {name}", (
            f"where {name} was renamed or dropped, edits of views that use it go to the dead letters and the lake "
            f"keeps null: add it again under this name, or {_CHANGE}"
        )
    if column.type == "string":
        wrong = _NOT_TEXT.fullmatch(actual) is not None
        return (f"{declared} and is {actual}", _CHANGE) if wrong else None
    fits = re.fullmatch(_FITTING[column.type], actual)
    if fits is None:
        return f"{declared} and is {actual}", _CHANGE
    if actual.startswith("bigint") and "unsigned" in actual:
        return f"{declared} and is {actual}", (
            f"values of {name} from 2^63 on would come as negative numbers: make the column bigint, or leave it out"
        )
    if column.type == "decimal" and int(fits["scale"] or 0) > column.scale:
        return f"{declared} with {column.scale} digits after the point and is {actual}", _CHANGE
    return None
