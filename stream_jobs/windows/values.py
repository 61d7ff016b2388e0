"""One value ↔ its exact form.

| column type    | on the wire (JSON)            | exact form                  | at the model's border |
|----------------|-------------------------------|-----------------------------|-----------------------|
| int64          | integer, or text of one       | int, |x| < 2⁶³              | int                   |
| decimal(scale) | text (also integer, float)    | int = x · 10^scale, |x| < 2⁶³ | float64, correctly rounded |
| float64        | number                        | float, finite               | float                 |
| bool           | true, false                   | bool                        | bool                  |
| timestamp_us   | integer, µs since 1970 UTC    | int                         | int                   |
| string         | text                          | str                         | str                   |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from decimal import Decimal, InvalidOperation

from appliance.records import Value
from stream_jobs.errors import EditError
from stream_jobs.plan import Column

Exact = int | float | bool | str | None

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def exact(column: Column, value: Value) -> Exact:
    """The exact form of a value. Raises EditError when it does not fit the column; nothing is rounded."""
    if value is None:
        return None
    kind = column.type
    if kind == "decimal":
        return _decimal(column, value)
    if kind in ("int64", "timestamp_us"):
        return _integer(column, value)
    if kind == "float64":
        return _float(column, value)
    if (kind == "bool" and isinstance(value, bool)) or (kind == "string" and isinstance(value, str)):
        return value
    raise _unfit(column, value)


def exact_column(column: Column, values: Iterable[Value]) -> list[Exact]:
    """``exact`` of many values of one column."""
    if column.type == "decimal":
        return [None if value is None else _decimal(column, value) for value in values]
    return [exact(column, value) for value in values]


def border(column: Column, value: Exact) -> Value:
    """The value that leaves the algebra: decimals become the nearest float64, everything else stays as it is.

    Zero has one sign: 0.0 and -0.0 are equal, so that which of them is the least would hang on who compares them.
    """
    if column.type == "decimal" and value is not None:
        unit: int = 10**column.scale
        return int(value) / unit
    return value + 0.0 if isinstance(value, float) else value


def row_number(text: str) -> int:
    """The int64 whose text is exactly ``text`` ("7", not "07", so that no two ids become one). Raises EditError."""
    number = _integer_text(text)
    if number is None:
        raise EditError("edit.row_id", f"row id {text[:60]!r} is not an int64, as its view's primary key is")
    return number


def _integer_text(text: str) -> int | None:
    try:
        number = int(text)
    except ValueError:
        return None
    return number if INT64_MIN <= number <= INT64_MAX and str(number) == text else None


def _decimal(column: Column, value: Value) -> int:
    if isinstance(value, str) and value.isascii():  # "-12.5", the usual case, six times faster than through Decimal
        whole, _, digits = value.partition(".")
        unsigned, missing = whole.removeprefix("-"), column.scale - len(digits)
        if unsigned and missing >= 0 and (unsigned + digits).isdecimal():
            number = int(whole + digits) * 10**missing if missing else int(whole + digits)
            return _bounded(column, number, value)
    elif isinstance(value, (bool, str)):
        raise _unfit(column, value)
    try:
        # A float stands for the shortest text that gives it: 12.3 is 12.3, not 12.300000000000000710…
        decimal = Decimal(value if isinstance(value, (int, str)) else repr(value))
    except InvalidOperation:
        raise _unfit(column, value) from None
    if not decimal.is_finite():
        raise _unfit(column, value)
    sign, figures, exponent = decimal.as_tuple()
    shift = column.scale + int(exponent)
    number = int("".join(map(str, figures)))
    if shift < 0:
        number, rest = divmod(number, 10**-shift)
        if rest:
            raise _unfit(column, value)
    elif shift > 40 and number:
        raise _unfit(column, value)
    else:
        number *= 10**shift
    return _bounded(column, -number if sign else number, value)


def _integer(column: Column, value: Value) -> int:
    if isinstance(value, bool):
        raise _unfit(column, value)
    if isinstance(value, int):
        return _bounded(column, value, value)
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, str) and (number := _integer_text(value)) is not None:
        return number
    raise _unfit(column, value)


def _float(column: Column, value: Value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _unfit(column, value)
    return float(value)


def _bounded(column: Column, number: int, value: Value) -> int:
    if not INT64_MIN < number <= INT64_MAX:
        raise _unfit(column, value)
    return number


def _unfit(column: Column, value: Value) -> EditError:
    kind = f"decimal with at most {column.scale} digits after the point" if column.type == "decimal" else column.type
    return EditError(
        "edit.value",
        f"column {column.name!r} must be {kind} within 64 bits, got {str(value)[:60]!r} ({type(value).__name__})",
        context={"column": column.name, "type": column.type},
    )
