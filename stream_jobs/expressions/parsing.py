"""Text → a checked expression. The text is read by sqlglot; what is allowed is listed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import sqlglot
from sqlglot import expressions as exp
from sqlglot.errors import SqlglotError

from stream_jobs.errors import CompileError
from stream_jobs.expressions.node import LARGEST_SCALE, NUMBERS, Node, Op
from stream_jobs.plan import Column, ColumnType
from stream_jobs.windows.values import INT64_MAX

_REASONS: dict[type[exp.Expr], str] = {
    exp.Div: "a quotient is rounded, and not everywhere alike",
    exp.IntDiv: "engines round quotients of negative numbers differently",
    exp.Mod: "engines give the rest of negative numbers different signs",
    exp.Upper: "engines know different capital letters outside ASCII",
    exp.Lower: "engines know different small letters outside ASCII",
    exp.Trim: "engines take different characters for blanks",
    exp.Like: "engines escape patterns differently",
    exp.Subquery: "an expression sees one row; a join as of the commit is not built (docs/adr/0014)",
    exp.Select: "an expression sees one row; a join as of the commit is not built (docs/adr/0014)",
    exp.AggFunc: "an expression sees one row; aggregates are declared as aggregations",
    exp.CurrentTimestamp: "it would give another value each time it is computed",
    exp.Rand: "it would give another value each time it is computed",
}
_ALLOWED = "columns, literals, + - *, comparisons, IN, BETWEEN, AND, OR, NOT, IS NULL, COALESCE, CASE, CAST"
_TYPES: dict[Any, ColumnType] = {
    exp.DataType.Type.BIGINT: "int64", exp.DataType.Type.INT: "int64", exp.DataType.Type.DECIMAL: "decimal",
}  # fmt: skip


def parse(text: str, columns: Mapping[str, Column], where: str) -> Node:
    """The expression over a table's columns. where: how errors name it.

    Raises CompileError for what is no SQL, not allowed, or of types that do not fit.
    """
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
    except SqlglotError as error:
        raise CompileError(
            "compile.sql", f"{where}: {text!r} is no SQL expression: {str(error).splitlines()[0]}",
            hint=f"allowed: {_ALLOWED}",
        ) from error  # fmt: skip
    node = _Parser(text, columns, where).node(tree)
    if node.op == "literal" and node.value is None:
        raise CompileError("compile.sql", f"{where}: {text!r} is always NULL")
    return node


def canonical(node: Node) -> str:
    """The one text of an expression, however it was written; it is part of the definition's hash."""
    match node.op:
        case "column":
            return node.name
        case "literal":
            return f"{node.value!r}:{node.type}({node.scale})"
        case _:
            power = f"{node.power}, " if node.op == "rescale" else ""
            return f"{node.op}({power}{', '.join(map(canonical, node.arguments))})"


class _Parser:
    def __init__(self, text: str, columns: Mapping[str, Column], where: str) -> None:
        self._text, self._columns, self._where = text, columns, where
        self._rules: dict[type[exp.Expr], Callable[..., Node]] = {
            exp.Paren: lambda tree: self.node(tree.this),
            exp.Column: self._column,
            exp.Literal: self._literal,
            exp.Boolean: lambda tree: Node("literal", "bool", value=bool(tree.this)),
            exp.Null: lambda tree: Node("literal", "bool"),
            exp.Neg: self._negative,
            exp.Add: lambda tree: self._sum("add", tree),
            exp.Sub: lambda tree: self._sum("subtract", tree),
            exp.Mul: self._product,
            exp.EQ: lambda tree: self._compare("equal", tree, tree.this, tree.expression),
            exp.NEQ: lambda tree: _not(self._compare("equal", tree, tree.this, tree.expression)),
            exp.LT: lambda tree: self._compare("less", tree, tree.this, tree.expression),
            exp.LTE: lambda tree: self._compare("at_most", tree, tree.this, tree.expression),
            exp.GT: lambda tree: self._compare("less", tree, tree.expression, tree.this),
            exp.GTE: lambda tree: self._compare("at_most", tree, tree.expression, tree.this),
            exp.Between: self._between,
            exp.In: self._in,
            exp.And: lambda tree: self._logic("and", tree.this, tree.expression),
            exp.Or: lambda tree: self._logic("or", tree.this, tree.expression),
            exp.Not: lambda tree: self._logic("not", tree.this),
            exp.Is: self._is,
            exp.Coalesce: self._coalesce,
            exp.Case: self._case,
            exp.Cast: self._cast,
        }

    def node(self, tree: exp.Expr) -> Node:
        rule = self._rules.get(type(tree))
        if rule is None:
            reason = next((why for kind, why in _REASONS.items() if isinstance(tree, kind)), "it is not on the list")
            raise self._refused(tree, f"is not allowed: {reason}")
        return rule(tree)

    def _refused(self, tree: exp.Expr, why: str) -> CompileError:
        return CompileError(
            "compile.expression", f"{self._where}: {tree.sql(dialect='duckdb')!r} in {self._text!r} {why}",
            hint=f"allowed: {_ALLOWED}",
        )  # fmt: skip

    def _column(self, tree: exp.Column) -> Node:
        column = self._columns.get(tree.name)
        if column is None or tree.table:
            raise self._refused(tree, f"is no column of the table, which has {sorted(self._columns)}")
        return Node("column", column.type, column.scale, name=column.name)

    def _literal(self, tree: exp.Literal) -> Node:
        if tree.is_string:
            if not str(tree.this).isprintable():
                raise self._refused(tree, "has characters that cannot be printed")
            return Node("literal", "string", value=str(tree.this))
        number = Decimal(str(tree.this))
        scale = max(0, -int(number.as_tuple().exponent))
        whole = int(number.scaleb(scale))
        if "e" in str(tree.this).lower() or abs(whole) > INT64_MAX:
            raise self._refused(tree, "is no number that fits in 64 bits, written without exponent")
        return Node("literal", "decimal" if scale else "int64", self._scale(tree, scale), value=whole)

    def _scale(self, tree: exp.Expr, scale: int) -> int:
        if scale > LARGEST_SCALE:
            raise self._refused(tree, f"has {scale} digits after the point, {LARGEST_SCALE} at most")
        return scale

    def _number(self, tree: exp.Expr) -> Node:
        node = self.node(tree)
        if node.type not in NUMBERS:
            why = "floating point arithmetic depends on the order of steps" if node.type == "float64" else "no number"
            raise self._refused(tree, f"is {node.type}, expected int64 or decimal: {why}")
        return node

    def _negative(self, tree: exp.Neg) -> Node:
        node = self._number(tree.this)
        if node.op == "literal" and isinstance(node.value, int):
            return replace(node, value=-node.value)
        return Node("negate", node.type, node.scale, (node,))

    def _sum(self, op: Op, tree: exp.Binary) -> Node:
        left, right = _aligned([self._number(tree.this), self._number(tree.expression)])
        return Node(op, left.type, left.scale, (left, right))

    def _product(self, tree: exp.Mul) -> Node:
        left, right = self._number(tree.this), self._number(tree.expression)
        scale = self._scale(tree, left.scale + right.scale)
        return Node("multiply", "decimal" if "decimal" in (left.type, right.type) else "int64", scale, (left, right))

    def _same(self, tree: exp.Expr, nodes: Sequence[Node]) -> list[Node]:
        """The nodes with one type; NULL takes the others' type, and a literal number that of a float64."""
        typed = [node for node in nodes if not _is_null(node)]
        if not typed:
            raise self._refused(tree, "has no type: everything in it is NULL")
        kinds = {node.type for node in typed}
        if kinds <= set(NUMBERS):
            aligned = _aligned(typed)
            null = Node("literal", aligned[0].type, aligned[0].scale)
            rest = iter(aligned)
            return [null if _is_null(node) else next(rest) for node in nodes]
        if "float64" in kinds and kinds <= {"float64", *NUMBERS}:
            if any(node.type != "float64" and node.op != "literal" for node in typed):
                raise self._refused(tree, "mixes float64 with exact numbers, which engines compare differently")
            return [_float(node) for node in nodes]
        if len(kinds) > 1:
            raise self._refused(tree, f"mixes {', '.join(sorted(kinds))}")
        (kind,) = kinds
        return [replace(node, type=kind) for node in nodes]

    def _compare(self, op: Op, tree: exp.Expr, left: exp.Expr, right: exp.Expr) -> Node:
        pair = self._same(tree, [self.node(left), self.node(right)])
        if op != "equal" and pair[0].type in ("string", "bool"):
            raise self._refused(tree, f"orders {pair[0].type}s, which engines do differently; = and <> are allowed")
        return Node(op, "bool", arguments=tuple(pair))

    def _between(self, tree: exp.Between) -> Node:
        low = self._compare("at_most", tree, tree.args["low"], tree.this)
        return Node("and", "bool", arguments=(low, self._compare("at_most", tree, tree.this, tree.args["high"])))

    def _in(self, tree: exp.In) -> Node:
        choices = tree.expressions
        if not choices:
            raise self._refused(tree, "has no list of values")
        return Node("or", "bool", arguments=tuple(self._compare("equal", tree, tree.this, each) for each in choices))

    def _condition(self, tree: exp.Expr) -> Node:
        node = self.node(tree)
        if node.type != "bool":
            raise self._refused(tree, f"is {node.type}, expected a condition")
        return node

    def _logic(self, op: Op, *trees: exp.Expr) -> Node:
        return Node(op, "bool", arguments=tuple(self._condition(tree) for tree in trees))

    def _is(self, tree: exp.Is) -> Node:
        if isinstance(tree.expression, exp.Null):
            return Node("is_null", "bool", arguments=(self.node(tree.this),))
        if isinstance(tree.expression, exp.Boolean):  # x IS TRUE is never NULL
            wanted = Node("literal", "bool", value=bool(tree.expression.this))
            equal = Node("equal", "bool", arguments=(self._condition(tree.this), wanted))
            return Node("coalesce", "bool", arguments=(equal, Node("literal", "bool", value=False)))
        raise self._refused(tree, "is neither IS NULL nor IS TRUE or IS FALSE")

    def _coalesce(self, tree: exp.Coalesce) -> Node:
        nodes = self._same(tree, [self.node(each) for each in (tree.this, *tree.expressions)])
        return Node("coalesce", nodes[0].type, nodes[0].scale, tuple(nodes))

    def _case(self, tree: exp.Case) -> Node:
        conditions, values = [], []
        for branch in tree.args["ifs"]:
            condition = branch.this
            chosen = self._compare("equal", tree, tree.this, condition) if tree.this else self._condition(condition)
            conditions.append(chosen)
            values.append(self.node(branch.args["true"]))
        last = tree.args.get("default")
        values.append(Node("literal", "bool") if last is None else self.node(last))
        values = self._same(tree, values)
        pairs = [node for pair in zip(conditions, values, strict=False) for node in pair]
        return Node("case", values[0].type, values[0].scale, (*pairs, values[-1]))

    def _cast(self, tree: exp.Cast) -> Node:
        node, kind = self.node(tree.this), _TYPES.get(tree.to.this)
        if node.type == "bool" and kind == "int64":
            return Node("as_integer", "int64", arguments=(node,))
        if node.type in NUMBERS and kind is not None:
            parameters = tree.to.expressions
            scale = self._scale(tree, int(parameters[1].name)) if kind == "decimal" and len(parameters) > 1 else 0
            if scale >= node.scale:
                return replace(_rescaled(node, scale), type=kind)
        raise self._refused(
            tree, f"is not exact for a {node.type}; exact are bool → BIGINT, and numbers to more digits"
        )


def _is_null(node: Node) -> bool:
    return node.op == "literal" and node.value is None


def _not(node: Node) -> Node:
    return Node("not", "bool", arguments=(node,))


def _aligned(nodes: Sequence[Node]) -> list[Node]:
    """Numbers with the same scale."""
    scale = max(node.scale for node in nodes)
    kind: ColumnType = "decimal" if any(node.type == "decimal" for node in nodes) else "int64"
    return [replace(_rescaled(node, scale), type=kind) for node in nodes]


def _rescaled(node: Node, scale: int) -> Node:
    power = scale - node.scale
    if power == 0:
        return node
    if node.op == "literal" and isinstance(node.value, int) and abs(node.value) * 10**power <= INT64_MAX:
        return replace(node, scale=scale, value=node.value * 10**power)
    return Node("rescale", "decimal", scale, (node,), power=power)


def _float(node: Node) -> Node:
    if node.op == "literal" and isinstance(node.value, int):
        return Node("literal", "float64", value=float(Decimal(node.value).scaleb(-node.scale)))
    return replace(node, type="float64", scale=0)
