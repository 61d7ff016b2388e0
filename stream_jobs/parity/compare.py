"""What counts as equal, and what a comparison has found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stream_jobs.parity.ledger import Question
from stream_jobs.plan import Column, WindowFeature

_EXACT, _FLOATING = 1e-12, 1e-9
RULE = (
    "counts, texts, times, whole numbers, sums of decimals, and values that pass unchanged: equal; "
    f"means and standard deviations: within {_EXACT:g} of the larger value; "
    f"sums, means and standard deviations of float64 columns: within {_FLOATING:g} of the larger value or of 1"
)
_MOST_LISTED = 20

Close = tuple[float, float]
"""Relative and absolute tolerance; (0, 0) asks for equality."""


def tolerance(feature: WindowFeature, column: Column | None) -> Close:
    """What a feature's values may differ by."""
    floating = column is not None and column.type == "float64"
    if floating and feature.function in ("sum", "mean", "std"):
        return _FLOATING, _FLOATING
    return (_EXACT, 0.0) if feature.function in ("mean", "std") else (0.0, 0.0)


def distance(values: Sequence[Any], close: Close) -> tuple[bool, float]:
    """Whether the values count as equal; and their largest relative difference (0 where they are no numbers)."""
    first = values[0]
    if all(value == first for value in values[1:]):
        return True, 0.0
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return False, 0.0
    low, high = min(values), max(values)
    largest = max(abs(low), abs(high))
    relative, absolute = close
    return high - low <= max(relative * largest, absolute), float((high - low) / largest)


@dataclass(frozen=True)
class Difference:
    """One value that is not the same in every leg. values: leg → value."""

    question: Question
    feature: str
    values: dict[str, Any]
    assumed: bool


@dataclass
class FeatureFound:
    """largest_difference: of values that count as equal, relative."""

    compared: int = 0
    different: int = 0
    largest_difference: float = 0.0


@dataclass
class Found:
    """Rows by the knowledge that made their values: assumed (from a snapshot) or observed.

    differences: the first ones in the order of prediction ids, which is that of time; at most 20.
    """

    features: dict[str, FeatureFound]
    assumed: int = 0
    observed: int = 0
    different_assumed: int = 0
    different_observed: int = 0
    positions: tuple[str, str] | None = None
    as_of: tuple[int, int] | None = None
    differences: list[Difference] = field(default_factory=list)

    @property
    def rows(self) -> int:
        return self.assumed + self.observed

    @property
    def different(self) -> int:
        return self.different_assumed + self.different_observed

    def add(
        self,
        questions: Sequence[Question],
        assumed: Sequence[bool],
        legs: Mapping[str, Mapping[str, Sequence[Any]]],
        close: Mapping[str, Close],
    ) -> None:
        """Take in a block. legs: leg → feature → values [questions]."""
        different: set[int] = set()
        for name, found in self.features.items():
            columns = [leg[name] for leg in legs.values()]
            found.compared += len(questions)
            for row, values in enumerate(zip(*columns, strict=True)):
                if all(value == values[0] for value in values[1:]):
                    continue
                equal, off = distance(values, close[name])
                if equal:
                    found.largest_difference = max(found.largest_difference, off)
                    continue
                found.different += 1
                different.add(row)
                self._note(Difference(questions[row], name, dict(zip(legs, values, strict=True)), assumed[row]))
        self._count(questions, assumed, different)

    def _count(self, questions: Sequence[Question], assumed: Sequence[bool], different: set[int]) -> None:
        with_assumed = sum(assumed)
        self.assumed += with_assumed
        self.observed += len(questions) - with_assumed
        self.different_assumed += sum(assumed[row] for row in different)
        self.different_observed += sum(not assumed[row] for row in different)
        if not questions:
            return
        if cuts := [each.cut for each in questions if each.cut]:
            self.positions = _wider(self.positions, min(cuts), max(cuts))
        times = [each.as_of for each in questions]
        self.as_of = _wider(self.as_of, min(times), max(times))

    def _note(self, difference: Difference) -> None:
        """Keep the first ones by prediction id; a feature's order among them is the plan's."""
        self.differences.append(difference)
        if len(self.differences) > 2 * _MOST_LISTED:
            self.trim()

    def trim(self) -> None:
        self.differences.sort(key=lambda each: each.question.prediction_id)
        del self.differences[_MOST_LISTED:]


def _wider(span: Any, low: Any, high: Any) -> Any:
    return (low, high) if span is None else (min(span[0], low), max(span[1], high))
