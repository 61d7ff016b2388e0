"""Debezium's JSON values, read as text, → SQL values.

Wire shapes (``decimal.handling.mode=string``, ``time.precision.mode=microseconds``): numeric is text,
timestamptz is ISO 8601 text in UTC, timestamp is int64 µs. A value that ``unfit`` lets through can be cast.
"""

from __future__ import annotations

_ISO = "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?Z$"
_DECIMAL = "^-?[0-9]+([.][0-9]+)?$"
_INTEGER = "^-?[0-9]{1,19}$"
_NOT_FINITE = "('NaN', 'Infinity', '-Infinity')"


def unfit(kind: str, field: str) -> str:
    """SQL condition: the text is no ``kind``. Empty where every text is one."""
    match kind:
        case "int64":
            return (
                f"NOT (({_matches(field, _INTEGER)} AND TRY_CAST({field} AS BIGINT) IS NOT NULL) OR {_boolean(field)})"
            )
        case "timestamp":
            return f"(NOT {_matches(field, _INTEGER)} OR TRY_CAST({field} AS BIGINT) IS NULL)"
        case "timestamptz":
            return f"(NOT {_matches(field, _ISO)} OR {_seconds(field)} IS NULL)"
        case "decimal":
            return f"NOT {_matches(field, _DECIMAL)}"
        case "float64":
            return f"({field} IN {_NOT_FINITE} OR TRY_CAST({field} AS DOUBLE) IS NULL)"
        case "bool":
            return f"NOT {_boolean(field)}"
        case _:
            return ""


def value(kind: str, field: str) -> str:
    """SQL value of an edit's column: decimals stay text, times become int64 µs, booleans in an int64 column 0 or 1."""
    match kind:
        case "int64":
            return (
                f"CASE {field} WHEN 'true' THEN CAST(1 AS BIGINT) WHEN 'false' THEN CAST(0 AS BIGINT)"
                f" ELSE TRY_CAST({field} AS BIGINT) END"
            )
        case "timestamp" | "timestamptz":
            return microseconds(kind, field)
        case "float64":
            return f"TRY_CAST({field} AS DOUBLE)"
        case "bool":
            return f"TRY_CAST({field} AS BOOLEAN)"
        case _:
            return field


def too_long(scale: int, field: str) -> str:
    """SQL condition: a decimal has more digits than surely fit in 64 bits, scaled."""
    return f"NOT {_matches(field, f'^-?[0-9]{{1,{18 - scale}}}([.][0-9]{{0,{scale}}}0*)?$')}"


def scaled(scale: int, field: str) -> str:
    """SQL value: int64, a decimal's text times 10^scale. It is not ``too_long``."""
    if scale == 0:
        return f"TRY_CAST(SPLIT_INDEX({field}, '.', 0) AS BIGINT)"
    fraction = f"RPAD(COALESCE(SPLIT_INDEX({field}, '.', 1), ''), {scale}, '0')"
    return f"TRY_CAST(CONCAT(SPLIT_INDEX({field}, '.', 0), {fraction}) AS BIGINT)"


def unscaled(scale: int, value: str) -> str:
    """SQL text of a decimal given as int64 times 10^scale."""
    if scale == 0:
        return f"CAST({value} AS STRING)"
    unit = f"CAST('0.{'1'.zfill(scale)}' AS DECIMAL({scale + 1}, {scale}))"
    return f"CAST(CAST({value} AS DECIMAL(19, 0)) * {unit} AS STRING)"


def microseconds(kind: str, field: str) -> str:
    """SQL value: int64 µs since 1970-01-01 UTC of a time. Digits after the sixth are cut off."""
    if kind == "timestamp":
        return f"TRY_CAST({field} AS BIGINT)"
    fraction = f"RPAD(COALESCE(REGEXP_EXTRACT({field}, '[.]([0-9]{{1,6}})', 1), ''), 6, '0')"
    return f"({_seconds(field)} * 1000000 + CAST({fraction} AS BIGINT))"


def _seconds(field: str) -> str:
    """EXTRACT, because TIMESTAMPDIFF counts seconds in 32 bits."""
    return f"EXTRACT(EPOCH FROM TRY_CAST(REPLACE(SUBSTRING({field}, 1, 19), 'T', ' ') AS TIMESTAMP(0)))"


def _matches(field: str, pattern: str) -> str:
    return f"REGEXP({field}, '{pattern}')"


def _boolean(field: str) -> str:
    return f"{field} IN ('true', 'false')"
