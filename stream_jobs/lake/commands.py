"""``appliance state TABLE --at POSITION``."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb

from appliance import context as contexts
from appliance.errors import UsageError
from stream_jobs import plan as plans
from stream_jobs.lake import schema, state_at
from stream_jobs.lake.reading import connect, literal, quote, sql_type
from stream_jobs.plan import CapturedTable

_SHOWN_ROWS = 50
_BATCH_ROWS = 10_000


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("state", help="the rows of a captured table exactly as they were at a position")
    verb.add_argument("table", metavar="TABLE", help="schema.table; public. may be left out")
    verb.add_argument(
        "--at", default=state_at.LATEST, metavar="POSITION",
        help="32 hex digits, a time (2026-11-23T16:00:00Z: what was committed by then), or latest (the default)",
    )  # fmt: skip
    verb.add_argument("--source", metavar="NAME", help="where several sources have a table of that name")
    verb.add_argument("--key", action="append", metavar="VALUE", help="only the row with this primary key; repeatable")
    verb.add_argument("--limit", type=int, metavar="N", help=f"at most so many rows (shown as text: {_SHOWN_ROWS})")
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="answer as JSON")
    form.add_argument("--csv", action="store_true", help="answer as CSV with a line of names")
    form.add_argument("--out", type=Path, metavar="FILE.parquet", help="write a Parquet file")
    verb.set_defaults(run=_state)


def _state(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    table = state_at.captured(plan, arguments.table, arguments.source)
    cut = state_at.cut(context, plan, table, arguments.at)
    if arguments.limit is not None and arguments.limit < 0:
        raise UsageError("lake.limit", f"--limit {arguments.limit}: expected 0 or more")
    with connect(context.run("state")) as connection:
        relation = f"FROM {state_at.rows(context, connection, table, cut.position)}{_only(table, arguments.key)}"
        total: int = connection.execute(f"SELECT count(*) {relation}").fetchall()[0][0]
        order = ", ".join(quote(key) for key in table.primary_key)
        limit = arguments.limit
        if limit is None and not (arguments.json or arguments.csv or arguments.out):
            limit = _SHOWN_ROWS
        query = f"{relation} ORDER BY {order}" + ("" if limit is None else f" LIMIT {limit}")
        said: dict[str, Any] = {
            "source": table.source, "table": table.table, "position": cut.position,
            "known_at": _time(cut.known_at), "rows_in_all": total,
        }  # fmt: skip
        if arguments.out is not None:
            _write(connection, query, arguments.out)
            sys.stdout.write(f"{_sentence(said)}; written to {arguments.out}\n")
            return 0
        names = [field.name for field in schema.state(table)]
        rows = _rows(connection.execute(query))
        if arguments.json:
            _json(said, names, rows)
        elif arguments.csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(names)
            writer.writerows([["" if value is None else value for value in row] for row in rows])
            sys.stderr.write(f"{_sentence(said)}\n")
        else:
            _text(said, names, list(rows))
    return 0


def _only(table: CapturedTable, keys: Sequence[str] | None) -> str:
    """WHERE clause of the primary keys asked for. Raises UsageError when one is no value of its column."""
    if not keys:
        return ""
    if len(table.primary_key) != 1:
        raise UsageError("lake.key", f"{table.table} has the key {table.primary_key}; --key takes keys of one column")
    (key,) = table.primary_key
    kind = next(sql_type(schema.arrow_type(column)) for column in table.columns if column.name == key)
    with duckdb.connect() as connection:
        for value in keys:
            if connection.execute(f"SELECT TRY_CAST({literal(value)} AS {kind}) IS NULL").fetchall()[0][0]:
                raise UsageError("lake.key", f"--key {value}: {key} is {kind}", hint="--key VALUE for each row")
    return f" WHERE {quote(key)} IN ({', '.join(f'CAST({literal(value)} AS {kind})' for value in keys)})"


def _write(connection: duckdb.DuckDBPyConnection, query: str, out: Path) -> None:
    try:
        connection.execute(f"COPY ({query}) TO {literal(str(out))} (FORMAT parquet)")
    except duckdb.IOException as error:
        raise UsageError(
            "lake.out", f"cannot write {out}: {error}", hint="name a file where the appliance's user may write"
        ) from error  # fmt: skip


def _rows(result: duckdb.DuckDBPyConnection) -> Iterator[list[Any]]:
    while batch := result.fetchmany(_BATCH_ROWS):
        for row in batch:
            yield [_value(value) for value in row]


def _value(value: Any) -> Any:
    """Decimals and times as text, all else as it is."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value) if isinstance(value, Decimal) else value


def _time(micros: int) -> str | None:
    return _value(datetime.fromtimestamp(micros / 1e6, UTC)) if micros else None


def _sentence(said: dict[str, Any]) -> str:
    known = f" (committed {said['known_at']})" if said["known_at"] else ""
    return f"{said['source']}: {said['table']} at position {said['position']}{known}: {said['rows_in_all']} rows"


def _json(said: dict[str, Any], names: list[str], rows: Iterator[list[Any]]) -> None:
    """One object, written row by row."""
    sys.stdout.write(json.dumps(said)[:-1] + ', "rows": [')
    for number, row in enumerate(rows):
        sys.stdout.write((", " if number else "") + json.dumps(dict(zip(names, row, strict=True))))
    sys.stdout.write("]}\n")


def _text(said: dict[str, Any], names: list[str], rows: list[list[Any]]) -> None:
    cells = [names, *([("" if value is None else str(value)) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    for row in cells:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    left = said["rows_in_all"] - len(rows)
    more = f"; {left} more are not shown (--limit, --csv, --out)" if left else ""
    sys.stdout.write(f"{_sentence(said)}{more}\n")
