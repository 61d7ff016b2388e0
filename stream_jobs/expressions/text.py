"""An expression as SQL: what DuckDB's and Flink's have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from stream_jobs.expressions.node import Node

_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "equal": "=", "less": "<", "at_most": "<="}


@dataclass(frozen=True)
class Dialect:
    """column: SQL of a column in its exact form. wide: an integer that holds any product of two int64.

    narrow: SQL of int64, null where a wide integer does not fit. text: the name of the type of texts.
    """

    column: Callable[[str], str]
    wide: Callable[[str], str]
    narrow: Callable[[str], str]
    text: str

    def sql(self, node: Node) -> str:
        """An int64 (decimals: scaled), double, text or boolean; -2⁶³ is null, since no edit can carry it."""
        text = self._sql(node)
        if node.type in ("int64", "decimal") and node.op not in ("column", "literal"):
            return f"NULLIF({text}, CAST('-9223372036854775808' AS BIGINT))"
        return text

    def condition(self, node: Node) -> str:
        """TRUE or FALSE, never null."""
        return f"({self._sql(node)} IS TRUE)"

    def _sql(self, node: Node) -> str:
        parts = [self._sql(argument) for argument in node.arguments]
        match node.op:
            case "column":
                return self.column(node.name)
            case "literal":
                return f"CAST({_literal(node)} AS {self._type(node)})"
            case "add" | "subtract" | "multiply" | "equal" | "less" | "at_most":
                return self._binary(node, *parts)
            case "negate":
                return self.narrow(f"{self.wide('0')} - {self.wide(parts[0])}")
            case "rescale":
                return self.narrow(f"{self.wide(parts[0])} * {self.wide(str(10**node.power))}")
            case "as_integer":
                return f"CAST({parts[0]} AS BIGINT)"
            case "not":
                return f"(NOT {parts[0]})"
            case "and" | "or":
                return f"({f' {node.op.upper()} '.join(parts)})"
            case "is_null":
                return f"({parts[0]} IS NULL)"
            case "coalesce":
                return f"COALESCE({', '.join(parts)})"
            case _:
                return _case(parts)

    def _type(self, node: Node) -> str:
        return {"float64": "DOUBLE", "bool": "BOOLEAN", "string": self.text}.get(node.type, "BIGINT")

    def _binary(self, node: Node, left: str, right: str) -> str:
        sign = _SIGNS[node.op]
        if node.type == "bool":
            return f"({left} {sign} {right})"
        return self.narrow(f"{self.wide(left)} {sign} {self.wide(right)}")


def _case(parts: list[str]) -> str:
    pairs = zip(parts[:-1:2], parts[1::2], strict=True)
    whens = " ".join(f"WHEN {condition} THEN {value}" for condition, value in pairs)
    return f"(CASE {whens} ELSE {parts[-1]} END)"


def _literal(node: Node) -> str:
    match node.value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if node.value else "FALSE"
        case str():
            return "'" + node.value.replace("'", "''") + "'"
        case _:
            return f"'{node.value!r}'"
