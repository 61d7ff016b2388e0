"""A windowed view's features as DuckDB SQL: the same definition that ``stream_jobs.windows`` computes in numpy.

The SQL aggregates a relation of candidate rows, one for each pair of a question and a live row of its longest window:
``question``, ``age_us`` (as-of time less event time, ≥ 0), ``added`` (position), ``row_id``, and the view's columns
(``view_column``), decimals as BIGINT scaled by 10^scale. Sums of integers and decimals are exact (HUGEINT); an overflow
is an error, never a wrong sum. Sums of float64 are compensated (Kahan), so they may differ from exact ones in the last
digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake.reading import quote
from stream_jobs.offline.versions import view_column
from stream_jobs.plan import Column, View, WindowFeature

_ORDER = "age_us DESC, added, row_id"
"""Event time, position, row id: event times rise as ages fall."""

_ROW = Column("*", "int64")


@dataclass(frozen=True)
class AdditiveSql:
    """A feature that is a count of values and their sum, so that rows may be counted in parts.

    valid: SQL over a row, whether it counts; number: the column summed, None for a count. n, total: SQL over candidate
    rows. value: of the two columns ``<feature>#n`` and ``<feature>#s``.
    """

    name: str
    window_us: int
    valid: str
    number: Column | None
    n: str
    total: str
    value: str


@dataclass(frozen=True)
class FeatureSql:
    """aggregate: over a question's candidate rows; counted: how many of them have a value, over the same rows.

    value: of the two columns named ``<feature>`` and ``<feature>#n``, null where there was no candidate row.
    """

    name: str
    aggregate: str
    counted: str
    value: str


def feature_sql(view: View) -> list[FeatureSql]:
    """SQL of every feature of a view. Raises OfflineStoreError for one that its columns cannot give."""
    columns = {column.name: column for column in view.columns}
    return [_feature(feature, _column(feature, columns)) for feature in view.features]


def additive_sql(view: View) -> list[AdditiveSql]:
    """SQL of every feature of a view that ``is_additive``. Raises OfflineStoreError as ``feature_sql`` does."""
    columns = {column.name: column for column in view.columns}
    return [_additive(feature, _column(feature, columns)) for feature in view.features]


def is_additive(view: View, feature: WindowFeature) -> bool:
    """Counts, and sums and means of exact numbers: not of float64, whose sums depend on their order."""
    types = {column.name: column.type for column in view.columns}
    return feature.function == "count" or (
        feature.function in ("sum", "mean") and types.get(feature.column or "") in ("int64", "decimal", "bool")
    )


def longest_us(view: View) -> int:
    """The widest window, µs."""
    return max(feature.window_us for feature in view.features)


def candidates_sql(features: Sequence[FeatureSql], candidates: str) -> str:
    """One row for each question that has a candidate row."""
    parts = [f"{f.aggregate} AS {quote(f.name)}, {f.counted} AS {quote(f.name + '#n')}" for f in features]
    return f"SELECT question, {', '.join(parts)} FROM {candidates} GROUP BY question"


def _column(feature: WindowFeature, columns: Mapping[str, Column]) -> Column:
    column = _ROW if feature.column is None else columns.get(feature.column)
    if column is None or (feature.column is None and feature.function != "count"):
        raise OfflineStoreError(
            "offline.feature",
            f"feature {feature.name!r}: no {feature.function} of {feature.column!r}, the columns are {sorted(columns)}",
        )
    return column


def _feature(feature: WindowFeature, column: Column) -> FeatureSql:
    x = "row_id" if feature.column is None else view_column(column.name)
    chosen = f"FILTER (WHERE {' AND '.join([f'age_us < {feature.window_us}', *_counted(feature)])})"
    aggregate = _aggregate(feature, column, x, chosen)
    value = _final(feature, column, quote(feature.name), f"coalesce({quote(feature.name + '#n')}, 0)")
    return FeatureSql(feature.name, aggregate, f"count(*) {chosen}", value)


def _additive(feature: WindowFeature, column: Column) -> AdditiveSql:
    counted = _counted(feature)
    chosen = f"FILTER (WHERE {' AND '.join([f'age_us < {feature.window_us}', *counted])})"
    n, total = quote(feature.name + "#n"), quote(feature.name + "#s")
    number = None if feature.function == "count" else column
    added = "0" if number is None else f"coalesce(sum({view_column(column.name)}::BIGINT) {chosen}, 0)"
    value = _final(feature, column, n if number is None else total, n)
    valid = " AND ".join(counted) or "true"
    return AdditiveSql(feature.name, feature.window_us, valid, number, f"count(*) {chosen}", added, value)


def _counted(feature: WindowFeature) -> list[str]:
    """Conditions of a row that counts, beside its age."""
    counted = [] if feature.column is None else [f"{view_column(feature.column)} IS NOT NULL"]
    return counted if feature.where is None else [*counted, view_column(feature.where)]


def _final(feature: WindowFeature, column: Column, y: str, n: str) -> str:
    value = _value(feature, column, y, n)
    if feature.default is not None:
        value = f"CASE WHEN {n} = 0 THEN {feature.default!r} ELSE {value} END"
    return f"({value})::{_type(feature, column)}"


def _aggregate(feature: WindowFeature, column: Column, x: str, chosen: str) -> str:
    number = x if column.type == "float64" else f"{x}::BIGINT"
    floating = column.type == "float64"
    match feature.function:
        case "count":
            return f"count(*) {chosen}"
        case "sum" | "mean":
            return f"{'fsum' if floating else 'sum'}({number}) {chosen}"
        case "std" if floating:
            return f"CASE WHEN count(*) {chosen} > 1 THEN stddev_samp({x}) {chosen} END"
        case "std":
            squares = f"sum({number}::HUGEINT * {number}::HUGEINT) {chosen}"
            return f"(count(*) {chosen})::HUGEINT * {squares} - (sum({number}) {chosen}) * (sum({number}) {chosen})"
        case "min" | "max":
            return f"{feature.function}({x}) {chosen}"
        case "count_distinct":
            return f"count(DISTINCT {x}) {chosen}"
        case "first" | "last":
            return f"{feature.function}({x} ORDER BY {_ORDER}) {chosen}"
        case "last_n":
            return f"list({x} ORDER BY {_ORDER}) {chosen}"


def _value(feature: WindowFeature, column: Column, y: str, n: str) -> str:
    """The feature at the model's border: decimals leave their scale in one correctly rounded division."""
    unit = 10**column.scale if column.type == "decimal" else 1
    match feature.function:
        case "count" | "count_distinct":
            return f"coalesce({y}, 0)"
        case "sum" if column.type == "float64":
            return f"coalesce({y}, 0.0)"
        case "sum":
            return f"coalesce({y}, 0)" + _scaled(column)
        case "mean":
            return f"CASE WHEN {n} > 0 THEN {y}::DOUBLE / ({n} * {unit})::DOUBLE END"
        case "std" if column.type == "float64":
            return y
        case "std":
            below = f"({n}::HUGEINT * ({n} - 1) * {unit * unit})::DOUBLE"
            return f"CASE WHEN {n} > 1 THEN sqrt({y}::DOUBLE / {below}) END"
        case "last_n":
            last = f"list_slice({y}, -{feature.n}, -1)"
            return f"list_transform({last}, lambda v: v{_scaled(column)})" if column.type == "decimal" else last
        case _:
            return y + _scaled(column)


def _scaled(column: Column) -> str:
    return f"::DOUBLE / {float(10**column.scale)!r}::DOUBLE" if column.type == "decimal" else ""


def _type(feature: WindowFeature, column: Column) -> str:
    kept = {"decimal": "DOUBLE", "float64": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}.get(column.type, "BIGINT")
    match feature.function:
        case "count" | "count_distinct":
            return "BIGINT"
        case "mean" | "std":
            return "DOUBLE"
        case "sum":
            return "DOUBLE" if kept == "DOUBLE" else "BIGINT"
        case "last_n":
            return kept + "[]"
        case _:
            return kept
