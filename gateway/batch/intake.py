"""The rows to score, out of the lake or a Parquet file, into one file of ours: numbered, in the wire's types.

From then on neither the table nor the file is looked at, so a batch that goes on after a kill has the same rows.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs.errors import LakeError
from stream_jobs.lake import reach, state_at
from stream_jobs.lake.reading import Limits, connect, literal, quote
from stream_jobs.plan import CapturedTable, Column, Plan, Service

NUMBER, POSITION = "appliance_number", "appliance_position"
"""Columns beside the service's: the row's number in the input from 0, and its own position ("" in a file)."""

_LIMITS = Limits(memory_mib=512, threads=1)
_ZONELESS = ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S")


def is_file(source: str) -> bool:
    return source.endswith(".parquet")


def cut(context: Context, plan: Plan, service: Service, source: str, as_of: str) -> str:
    """The position up to which changes count: what ``as_of`` names, or the last one that all tables have reached.

    Raises UsageError, and LakeError when a table that the features or the rows come from has not reached it.
    """
    views = [plan.view(name) for name in service.views]
    needed = {service.event_table, *(view.table for view in views)}
    if not is_file(source):
        needed.add(table(plan, service, source).table)
    tables = [each for each in plan.tables if each.source == service.source and each.table in needed]
    if as_of == state_at.LATEST:
        position = min(reach.read(state_at.changes_path(context, each)).position for each in tables)
        if not position.strip("0"):
            raise LakeError(
                "batch.nothing_captured", f"the lake holds nothing yet of {service.source}: {sorted(needed)}",
                hint="appliance source list; appliance status writer-lake",
            )  # fmt: skip
        return position
    position = state_at.cut(context, plan, tables[0], as_of).position
    for each in tables[1:]:
        state_at.cut(context, plan, each, position)
    return position


def table(plan: Plan, service: Service, name: str) -> CapturedTable:
    """The captured table of that name. Raises UsageError where there is none, or none with the service's columns."""
    found = state_at.captured(plan, name, service.source)
    lacking = {column.name for column in service.row} - {column.name for column in found.columns}
    if lacking:
        raise UsageError(
            "batch.columns", f"table {found.table} lacks {sorted(lacking)}, which rows of {service.name} have",
            hint="declare them in feature_repo, or score a Parquet file that has them",
        )  # fmt: skip
    return found


def stage(
    context: Context, plan: Plan, service: Service, source: str, position: str, where: str, time_zone: str, into: Path
) -> int:
    """Write the rows to ``into`` and return their number. Raises UsageError when the source cannot be read."""
    with connect(context.run("batch"), _LIMITS) as connection:
        if is_file(source):
            query = _file(connection, service, Path(source), time_zone, where)
        else:
            query = _table(context, connection, service, table(plan, service, source), position, where)
        unfinished = into.with_name(into.name + ".new")
        try:
            connection.execute(f"COPY ({query}) TO {literal(str(unfinished))} (FORMAT parquet, ROW_GROUP_SIZE 20000)")
        except (duckdb.BinderException, duckdb.ParserException, duckdb.ConversionException) as error:
            raise UsageError(
                "batch.where", f"the rows cannot be chosen: {error}",
                hint="--where takes a condition of DuckDB's SQL over the columns of the input",
            ) from error  # fmt: skip
        unfinished.rename(into)
        rows: int = connection.execute(f"SELECT count(*) FROM read_parquet({literal(str(into))})").fetchall()[0][0]
        return rows


def _table(
    context: Context,
    connection: duckdb.DuckDBPyConnection,
    service: Service,
    found: CapturedTable,
    position: str,
    where: str,
) -> str:
    """The table's rows as they were at the position, by event time: neighbours in time share what they read."""
    columns = ", ".join(_wire(quote(column.name), _lake_type(column), column) for column in service.row)
    order = ", ".join(quote(name) for name in (service.event_time, *found.primary_key))
    return f"""SELECT row_number() OVER (ORDER BY {order}) - 1 AS {NUMBER}, position AS {POSITION}, {columns}
        FROM {state_at.rows(context, connection, found, position)} {_condition(where)} ORDER BY {NUMBER}"""


def _lake_type(column: Column) -> str:
    kinds = {"decimal": "DECIMAL", "timestamp_us": "TIMESTAMP WITH TIME ZONE", "float64": "DOUBLE", "int64": "BIGINT"}
    return kinds.get(column.type, column.type)


def _file(connection: duckdb.DuckDBPyConnection, service: Service, path: Path, time_zone: str, where: str) -> str:
    """The file's rows in their order; columns that the service does not know are passed over."""
    stored = f"read_parquet({literal(str(path))}, file_row_number = true)"
    try:
        kinds = {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE FROM {stored}").fetchall()}
    except duckdb.Error as error:
        raise UsageError(
            "batch.file", f"{path} cannot be read as Parquet: {error}",
            hint="name a file that the appliance's user may read",
        ) from error  # fmt: skip
    wanted = [column for column in service.row if column.name in kinds]
    lacking = {column.name for column in service.row} - kinds.keys() - {service.event_time}
    if lacking:
        raise UsageError(
            "batch.columns", f"{path} lacks {sorted(lacking)}, which rows of {service.name} have; it has {list(kinds)}",
            hint="rename its columns; GET /v1/services lists those of a row",
        )  # fmt: skip
    columns = []
    for column in wanted:
        name, kind = quote(column.name), kinds[column.name]
        if kind in _ZONELESS and column.type == "timestamp_us":
            if not time_zone:
                raise UsageError(
                    "batch.time_zone", f"column {column.name!r} of {path} is a time without zone",
                    hint="--time-zone UTC, or the zone in which it was written",
                )  # fmt: skip
            name, kind = f"timezone({literal(time_zone)}, {name}::TIMESTAMP)", "TIMESTAMP WITH TIME ZONE"
        columns.append(_wire(name, kind, column))
    return (
        f"SELECT file_row_number AS {NUMBER}, '' AS {POSITION}, {', '.join(columns)} FROM {stored} {_condition(where)}"
    )


def _condition(where: str) -> str:
    return f"WHERE ({where})" if where else ""


def _wire(name: str, kind: str, column: Column) -> str:
    """A column as rows have it on the wire: times as µs, decimals as text. What is odd is named row by row later."""
    if kind.startswith("DECIMAL") or (kind == "FLOAT" and column.type == "decimal"):
        name = f"{name}::VARCHAR"
    elif kind == "TIMESTAMP WITH TIME ZONE":
        name = f"epoch_us({name})"
    elif kind == "FLOAT":
        name = f"{name}::DOUBLE"
    return f"{name} AS {quote(column.name)}"
