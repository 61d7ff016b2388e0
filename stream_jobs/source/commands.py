"""``appliance source add | remove | list | check | resnapshot | mends``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance import context as contexts
from stream_jobs.errors import SourceError
from stream_jobs.mending import mends, resnapshot
from stream_jobs.source import administrator, connector, database, password, record, service
from stream_jobs.source.check import shown


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    source = subparsers.add_parser("source", help="business databases whose changes are captured")
    verbs = source.add_subparsers(dest="source_verb", metavar="VERB", required=True)

    adding = verbs.add_parser("add", help="check a database, capture its tables, wait for the first snapshot")
    adding.add_argument("name", metavar="NAME", help="alias of the database in every name")
    place = adding.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--url", metavar="URL", help="postgresql://, mariadb:// or mysql:// HOST:PORT/DATABASE, without a password"
    )
    place.add_argument("--sample", action="store_true", help="the sample business database")
    adding.add_argument("--tables", metavar="A,B", help="schema.table, …; otherwise those of the applied features")
    adding.add_argument("--print-sql", action="store_true", help="only print what the administrator must run")
    password.arguments(adding)
    _json(adding, _add)

    removing = verbs.add_parser("remove", help="stop capturing, and take back what was touched")
    removing.add_argument("name", metavar="NAME")
    _json(removing, _remove)

    _json(verbs.add_parser("list", help="every source and its connector"), _list)

    checking = verbs.add_parser("check", help="check every point again; exit status 0 if all are well")
    checking.add_argument("name", metavar="NAME")
    _json(checking, _check)

    again = verbs.add_parser(
        "resnapshot", help="read one table anew while it is written to, and put right what differs"
    )
    again.add_argument("name", metavar="NAME")
    again.add_argument("table", metavar="TABLE", help="schema.table; public. may be left out")
    again.add_argument(
        "--print-sql", action="store_true", help="only print the SQL that asks for it; then it is awaited"
    )
    again.add_argument("--timeout", type=float, default=3600.0, metavar="SECONDS", help="how long to wait (3600)")
    _json(again, _resnapshot)

    _json(verbs.add_parser("mends", help="what of the log was mended or is being mended, and why"), _mends)


def _json(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)


def _teller(arguments: argparse.Namespace) -> Callable[[str], None]:
    def tell(text: str) -> None:
        if not arguments.json:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    return tell


def _print(arguments: argparse.Namespace, answer: Any, text: str) -> None:
    sys.stdout.write((json.dumps(answer, default=str) if arguments.json else text) + "\n")


def _add(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    address = administrator.sample_address(context) if arguments.sample else record.parse_address(arguments.url)
    tables = [table.strip() for table in arguments.tables.split(",") if table.strip()] if arguments.tables else None
    source = service.describe(context, arguments.name, address, tables, sample=arguments.sample)
    if (given := password.given(arguments, source.address.user)) is not None:
        context.secrets.put(source.secret, given)
    if arguments.print_sql:
        script = service.administrators_script(context, source)
        _print(arguments, {"sql": script}, script.rstrip("\n"))
        return 0
    report = service.add(context, source, _teller(arguments))
    _print(
        arguments,
        _answer(report) | {"records": report.records},
        f"{_shown(report)}\n{arguments.name}: {len(source.tables)} tables of {address} are captured, "
        f"about {report.records} records so far",
    )
    return 0


def _answer(report: service.Report) -> dict[str, Any]:
    return {
        "source": msgspec.to_builtins(report.source),
        "checks": [asdict(each) for each in report.checks],
        "wal_growth": [asdict(each) for each in report.growth],
    }


def _shown(report: service.Report) -> str:
    lines = [shown(report.checks)]
    if report.growth:
        lines.append("expected growth of the database's log (reasoned, not measured):")
        lines += [f"  {each.bytes_per_day / 1e6:10.2f} MB a day  {each.what}" for each in report.growth]
    return "\n".join(lines)


def _remove(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    source = record.registered(context, arguments.name)
    undo = None if source.sample else database.of(source).undo_script(source)
    left = service.remove(context, source, _teller(arguments))
    if undo is not None:
        text = f"the connector is gone; the administrator of {source.address} now runs:\n\n{undo}"
    elif left:
        text = "removed, but the schema is not what it was:\n" + "\n".join(left)
    else:
        text = f"removed; the schema of {source.address} is exactly what it was before"
    _print(arguments, {"removed": source.name, "left": left, "undo_sql": undo}, text)
    return 1 if left else 0


def _list(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    found = [
        {
            "name": source.name,
            "address": str(source.address),
            "tables": [table.name for table in source.tables],
            "sample": source.sample,
            "running": connector.running(context, source),
        }
        for source in record.everyone(context)
    ]
    lines = [
        f"{each['name']:<16} {each['address']}  {'running' if each['running'] else 'NOT running'}  "
        f"{', '.join(map(str, each['tables']))}"  # type: ignore[call-overload]
        for each in found
    ]
    _print(arguments, found, "\n".join(lines) or "no source; appliance source add NAME --url …")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    source = record.registered(context, arguments.name)
    report = service.live(context, service.check(context, source))
    _print(arguments, _answer(report), _shown(report))
    return 0 if all(each.ok for each in report.checks) else 1


def _resnapshot(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    source = record.registered(context, arguments.name)
    table = resnapshot.captured(context, source, arguments.table)
    reason = connector.failure(context, source)
    if reason is not None:
        raise SourceError(
            "source.connector", f"connector {connector.name(context, source)} does not run: {reason}",
            hint=f"appliance source check {source.name}",
        )  # fmt: skip
    end = resnapshot.notifications_end(context, source)
    mend = resnapshot.begin(context, source, table, end, signalled=arguments.print_sql)
    if arguments.print_sql:
        script = f"{resnapshot.statement(mend, source)};"
        _print(arguments, {"mend": mend.id, "sql": script}, script)
        return 0
    tell = _teller(arguments)
    tell(f"{source.name}: {table.table} is read anew ({mend.id})")
    finished = resnapshot.wait(context, mend.id, tell, arguments.timeout)
    _print(arguments, msgspec.to_builtins(finished), _mend(finished))
    return 1 if finished.note.startswith("failed") else 0


def _mends(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    found = [*mends.finished(context), *mends.unfinished(context)]
    text = "\n".join(_mend(each) for each in found) or "nothing of the log had to be mended in the last 90 days"
    _print(arguments, [msgspec.to_builtins(each) for each in found], text)
    return 0


def _mend(mend: mends.Mend) -> str:
    at = datetime.fromtimestamp(mend.at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    state = "mended" if mend.step == "done" else f"BEING MENDED (step {mend.step})"
    written = ", ".join(f"{count} changes into {table}" for table, count in mend.written.items())
    return f"{at}  {mend.source}  {state}: {mend.reason}" + "".join(
        f"; {each}" for each in (written, mend.note) if each
    )
