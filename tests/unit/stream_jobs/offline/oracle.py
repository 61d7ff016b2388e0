"""What a windowed feature is, computed one question at a time in plain Python: slow, and written without the SQL."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from stream_jobs.plan import View, WindowFeature


@dataclass(frozen=True)
class Event:
    """A change as the lake has it; row: after image, of a delete the before image, of a truncate None."""

    op: str
    position: str
    known_us: int
    row: dict[str, Any] | None


@dataclass(frozen=True)
class Question:
    entity: tuple[Any, ...]
    as_of: int
    position: str | None = None
    known_us: int | None = None
    in_hand: dict[str, Any] | None = None


def live_rows(view: View, events: list[Event], question: Question) -> dict[Any, tuple[str, dict[str, Any]]]:
    """Row id → (position, row) after everything up to the cut."""
    rows: dict[Any, tuple[str, dict[str, Any]]] = {}
    for event in sorted(events, key=lambda event: (event.position, event.op != "d")):
        if question.position is not None and event.position > question.position:
            continue
        if question.known_us is not None and event.known_us > question.known_us:
            continue
        if event.op == "t":
            rows.clear()
        elif event.op == "d":
            rows.pop(event.row[view.row_id], None)
        else:
            rows[event.row[view.row_id]] = (event.position, event.row)
    return rows


def features(view: View, events: list[Event], question: Question) -> dict[str, Any]:
    rows = live_rows(view, events, question)
    if question.in_hand is not None:
        rows[question.in_hand[view.row_id]] = ("f" * 32, question.in_hand)
    mine = [
        (row[view.event_time], position, row_id, row)
        for row_id, (position, row) in rows.items()
        if tuple(row[key] for key in view.join_keys) == question.entity and row[view.event_time] is not None
    ]
    mine.sort(key=lambda item: item[:3])
    return {feature.name: _value(feature, mine, question.as_of) for feature in view.features}


def _value(  # noqa: C901  # one case a function
    feature: WindowFeature, rows: list[tuple[int, str, Any, dict[str, Any]]], as_of: int
) -> Any:
    window = [row for at, _, _, row in rows if as_of - feature.window_us < at <= as_of]
    if feature.where is not None:
        window = [row for row in window if row[feature.where]]
    values = [1 if feature.column is None else row[feature.column] for row in window]
    values = [value for value in values if value is not None]
    if not values and feature.default is not None:
        return feature.default
    match feature.function:
        case "count":
            return len(values)
        case "sum":
            return _border(sum(map(Fraction, values), Fraction(0)), values)
        case "mean":
            return float(sum(map(Fraction, values)) / len(values)) if values else None
        case "std":
            exact = [Fraction(value) for value in values]
            return math.sqrt(statistics.variance(exact)) if len(values) > 1 else None
        case "min":
            return _border(min(values), [min(values)]) if values else None
        case "max":
            return _border(max(values), [max(values)]) if values else None
        case "count_distinct":
            return len(set(values))
        case "first":
            return _border(values[0], values) if values else None
        case "last":
            return _border(values[-1], values) if values else None
        case "last_n":
            return [_border(value, [value]) for value in values[-feature.n :]] or None
    raise AssertionError(feature.function)


def _border(value: Any, of: list[Any]) -> Any:
    if any(isinstance(each, Decimal | float) for each in of):
        return float(value)
    return int(value) if isinstance(value, Fraction) else value
