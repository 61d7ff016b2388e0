"""Features of the payment in hand: plain functions row → value, the same for Feast, gateway and training.

A row's ``tx_datetime`` is int64 µs UTC; its ``tx_amount`` is decimal text or a number, in the currency's unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

_LAST_NIGHT_HOUR = 6
_SATURDAY = 5


def _at(row: Mapping[str, Any]) -> datetime:
    return datetime.fromtimestamp(int(row["tx_datetime"]) // 1_000_000, UTC)


def amount(row: Mapping[str, Any]) -> float:
    """The amount as float64."""
    return float(row["tx_amount"])


def weekend(row: Mapping[str, Any]) -> int:
    """1 on Saturday and Sunday (UTC), else 0."""
    return int(_at(row).weekday() >= _SATURDAY)


def night(row: Mapping[str, Any]) -> int:
    """1 where the hour is 6 or less (UTC), else 0."""
    return int(_at(row).hour <= _LAST_NIGHT_HOUR)
