"""Rows as they come in → rows in one form, so that the same row gives the same vector whatever its way.

One form: int64 as int, decimal as text with the column's scale, float64 as float, timestamps as int µs UTC.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from appliance.records import Value
from gateway.errors import Fault
from stream_jobs.plan import Column, Plan, Service

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = 1 << 63
_SHOWN = 60

FIRST_TIME_US = (datetime(2, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
LAST_TIME_US = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) - 1
"""Times that calendars can work with in every zone."""


class _WrongError(Exception):
    """A value does not fit; the text says what was expected."""


def shown(value: Any) -> str:
    """A value for an error message: its type and its beginning."""
    if value is None:
        return "null"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}"


def _int64(value: Any, column: Column) -> Value:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not -_INT64 <= value < _INT64:
        raise _WrongError("a whole number (64 bits)")
    return value


def _decimal(value: Any, column: Column) -> Value:
    expected = f"a finite number with at most {column.scale} digits after the point"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _WrongError(expected)
    try:
        number = Decimal(value if isinstance(value, int | str) else repr(value))
        if not number.is_finite():
            raise _WrongError(expected)
        fitted = number.quantize(Decimal(1).scaleb(-column.scale))
    except InvalidOperation:
        raise _WrongError(expected) from None
    if fitted != number:
        raise _WrongError(expected)
    return format(fitted, "f")


def _float64(value: Any, column: Column) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _WrongError("a finite number")
    return float(value)


def _string(value: Any, column: Column) -> Value:
    if not isinstance(value, str):
        raise _WrongError("a text")
    return value


def _bool(value: Any, column: Column) -> Value:
    if not isinstance(value, bool):
        raise _WrongError("true or false")
    return value


def _timestamp(value: Any, column: Column) -> Value:
    expected = "a time: whole microseconds since 1970-01-01 UTC, or ISO 8601 with a zone"
    if isinstance(value, bool):
        raise _WrongError(expected)
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            raise _WrongError(expected) from None
        if time.tzinfo is None:
            raise _WrongError(expected)
        value = (time - _EPOCH) // timedelta(microseconds=1)
    if not isinstance(value, int):
        raise _WrongError(expected)
    if not FIRST_TIME_US <= value <= LAST_TIME_US:
        raise _WrongError("a time in the years 2 to 9998")
    return value


_FORMS: dict[str, Callable[[Any, Column], Value]] = {
    "int64": _int64,
    "decimal": _decimal,
    "float64": _float64,
    "string": _string,
    "bool": _bool,
    "timestamp_us": _timestamp,
}


def time_us(value: Any, where: str) -> tuple[int, list[Fault]]:
    """A time in one of the two forms → (µs UTC, every fault). ``where``: its path."""
    try:
        return int(_timestamp(value, Column(where, "timestamp_us")) or 0), []
    except _WrongError as wrong:
        return 0, [Fault(where, str(wrong), shown(value))]


def key_columns(plan: Plan, service: Service) -> frozenset[str]:
    """Columns of a row that may not be null: the event's key and what names its entities."""
    join_keys = {key for name in service.views for key in plan.view(name).join_keys}
    return frozenset(column.name for column in service.row if column.name in join_keys) | {service.event_key}


def requested(service: Service, keys: frozenset[str], raw: Any, where: str) -> tuple[dict[str, Value], list[Fault]]:
    """A row of a request → (row in one form, every fault). ``where``: its path, such as ``rows[0]``.

    Every column of the service's row must be given, except the event time (then the appliance clock speaks).
    """
    if not isinstance(raw, Mapping):
        return {}, [Fault(where, "an object with the fields of a row", shown(raw))]
    row: dict[str, Value] = {}
    faults: list[Fault] = []
    known = {column.name for column in service.row}
    faults += [Fault(f"{where}.{name}", f"one of {sorted(known)}", "an unknown field") for name in raw.keys() - known]
    for column in service.row:
        path = f"{where}.{column.name}"
        if column.name not in raw:
            if column.name != service.event_time:
                faults.append(Fault(path, f"a value of type {column.type}", "nothing"))
            continue
        value = raw[column.name]
        if value is None:
            if column.name in keys:
                faults.append(Fault(path, f"a value of type {column.type}", "null"))
            elif column.name != service.event_time:
                row[column.name] = None
            continue
        try:
            row[column.name] = _FORMS[column.type](value, column)
        except _WrongError as wrong:
            faults.append(Fault(path, str(wrong), shown(value)))
    return row, sorted(faults, key=lambda fault: fault.field)


def captured(service: Service, after: Mapping[str, Any]) -> tuple[dict[str, Value], list[Fault]]:
    """A captured row → (row in one form, every fault). Only its key and its time must be there."""
    row: dict[str, Value] = {}
    faults: list[Fault] = []
    for column in service.row:
        value = after.get(column.name)
        if value is None:
            if column.name in (service.event_key, service.event_time):
                faults.append(Fault(column.name, f"a value of type {column.type}", "null"))
            row[column.name] = None
            continue
        try:
            row[column.name] = _FORMS[column.type](value, column)
        except _WrongError as wrong:
            faults.append(Fault(column.name, str(wrong), shown(value)))
    return row, faults
