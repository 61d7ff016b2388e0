"""A checked expression."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from stream_jobs.plan import Column, ColumnType

Op = Literal[
    "column", "literal", "add", "subtract", "multiply", "negate", "rescale", "as_integer", "equal", "less", "at_most",
    "and", "or", "not", "is_null", "coalesce", "case",
]  # fmt: skip

NUMBERS: tuple[ColumnType, ...] = ("int64", "decimal")
LARGEST_SCALE = 16


@dataclass(frozen=True)
class Node:
    """op of arguments; its result is of ``type`` (decimals: scaled by 10^``scale``).

    column: ``name``. literal: ``value`` in its exact form, None for NULL. rescale: times 10^``power``.
    case: condition, value, condition, value, …, else.
    """

    op: Op
    type: ColumnType
    scale: int = 0
    arguments: tuple[Node, ...] = ()
    name: str = ""
    value: int | float | bool | str | None = None
    power: int = 0

    def columns(self) -> Iterator[str]:
        """Names of the columns it reads, each as often as it does."""
        if self.op == "column":
            yield self.name
        for argument in self.arguments:
            yield from argument.columns()

    def result(self, name: str) -> Column:
        """Its result as a column."""
        return Column(name, self.type, self.scale)
