"""What a feature's value is, said as directly as possible. Shares no code with stream_jobs.windows.

Edits are ``appliance.records.Edit``; values are Decimal, Fraction, int, float, bool, str: exact wherever they can be.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

from appliance.records import Edit
from stream_jobs.plan import Column, WindowFeature


def live_rows(edits: list[Edit], cut: str) -> dict[str, Edit]:
    """Row id → the edit that gives its state at ``cut``, replayed one edit after the other in commit order."""
    rows: dict[str, Edit] = {}
    for edit in sorted(edits, key=lambda e: (e.position, e.sign)):
        if edit.position > cut:
            break
        if edit.sign > 0:
            rows[edit.row_id] = edit
        else:
            rows.pop(edit.row_id, None)
    return rows


def value(
    edits: list[Edit], cut: str, as_of: int, feature: WindowFeature, columns: list[Column], hand: Edit | None = None
) -> Any:
    """The feature's value, as it leaves the algebra (decimals as float)."""
    rows = live_rows(edits, cut)
    if hand is not None:
        if hand.row_id:
            rows.pop(hand.row_id, None)
        rows["the row in hand"] = hand
    inside = [
        row
        for row in rows.values()
        if as_of - feature.window_us < row.event_time <= as_of
        and (feature.where is None or row.columns.get(feature.where) is True)
    ]
    inside.sort(key=lambda row: (row.event_time, row.position, int(row.row_id or 0)))
    if feature.column is None:
        return len(inside) or (feature.default if feature.default is not None else 0)
    (column,) = (c for c in columns if c.name == feature.column)
    values = [row.columns[feature.column] for row in inside if row.columns.get(feature.column) is not None]
    if column.type == "decimal":
        values = [Decimal(str(v)) for v in values]
    if not values and feature.default is not None:
        return feature.default
    result = _out(_aggregate(feature, values))
    whole = feature.function == "sum" and column.type in ("int64", "bool")
    return int(_aggregate(feature, values)) if whole else result


def _aggregate(feature: WindowFeature, values: list[Any]) -> Any:
    function = feature.function
    if function == "count":
        return len(values)
    if function == "count_distinct":
        return len(set(values))
    if function == "sum":
        return sum(map(Fraction, values)) if values else 0
    if not values:
        return None
    if function == "mean":
        total = sum(map(Fraction, values))
        return (float(total) if isinstance(values[0], float) else total) / len(values)  # floats: the rounded sum's part
    if function == "std":
        if len(values) < 2:
            return None
        numbers = [Fraction(v) for v in values]
        mean = sum(numbers) / len(numbers)
        return math.sqrt(sum((n - mean) ** 2 for n in numbers) / (len(numbers) - 1))
    if function == "last_n":
        return values[-feature.n :]
    return {"min": min(values), "max": max(values), "first": values[0], "last": values[-1]}[function]


def _out(value: Any) -> Any:
    if isinstance(value, list):
        return [_out(one) for one in value]
    return float(value) if isinstance(value, (Decimal, Fraction)) else value
