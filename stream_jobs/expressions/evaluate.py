"""An expression in Python: what is computed of the row in hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from stream_jobs.expressions.node import Node, Op
from stream_jobs.windows.values import INT64_MAX, INT64_MIN, Exact

Row = Mapping[str, Exact]
Function = Callable[[Row], Any]


def function(node: Node) -> Function:
    """Row of exact values → exact value. A result of -2⁶³, which no edit can carry, is None."""
    inner = _function(node)

    def outer(row: Row) -> Any:
        value = inner(row)
        return None if type(value) is int and value == INT64_MIN else value

    return outer


_ARITHMETIC: dict[Op, Callable[..., int]] = {
    "add": lambda left, right: left + right,
    "subtract": lambda left, right: left - right,
    "multiply": lambda left, right: left * right,
    "negate": lambda value: -value,
}
_OF_KNOWN: dict[Op, Callable[..., Any]] = {
    "as_integer": int,
    "equal": lambda left, right: left == right,
    "less": lambda left, right: left < right,
    "at_most": lambda left, right: left <= right,
    "not": lambda value: not value,
}


def _function(node: Node) -> Function:
    parts = [_function(argument) for argument in node.arguments]
    if node.op in _ARITHMETIC:
        return _arithmetic(parts, _ARITHMETIC[node.op])
    if node.op in _OF_KNOWN:
        return _known(parts, _OF_KNOWN[node.op])
    match node.op:
        case "column":
            return lambda row: row[node.name]
        case "rescale":
            factor = 10**node.power
            return _arithmetic(parts, lambda value: value * factor)
        case "and" | "or":
            return _decided(parts, decides=node.op == "or")
        case "is_null":
            return lambda row: parts[0](row) is None
        case "coalesce":
            return lambda row: next((value for part in parts if (value := part(row)) is not None), None)
        case "case":
            return _case(parts)
        case _:
            return lambda row: node.value


def _known(parts: list[Function], of: Callable[..., Any]) -> Function:
    """Of values that are all known, else null."""

    def function(row: Row) -> Any:
        values = [part(row) for part in parts]
        return None if any(value is None for value in values) else of(*values)

    return function


def _arithmetic(parts: list[Function], of: Callable[..., int]) -> Function:
    exact = _known(parts, of)

    def function(row: Row) -> int | None:
        value = exact(row)
        return value if value is not None and INT64_MIN <= value <= INT64_MAX else None

    return function


def _decided(parts: list[Function], *, decides: bool) -> Function:
    """AND (False decides) and OR (True decides); null when nothing decides and something is null."""

    def function(row: Row) -> bool | None:
        values = [part(row) for part in parts]
        if decides in values:
            return decides
        return None if None in values else not decides

    return function


def _case(parts: list[Function]) -> Function:
    pairs = list(zip(parts[:-1:2], parts[1::2], strict=True))

    def function(row: Row) -> Any:
        return next((value(row) for condition, value in pairs if condition(row) is True), parts[-1](row))

    return function
