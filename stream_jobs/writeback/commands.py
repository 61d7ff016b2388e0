"""``appliance writeback add | list | check | remove``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec

from appliance import context as contexts
from stream_jobs import plan as plans
from stream_jobs.source import password, postgres_sql
from stream_jobs.source.check import Check, shown
from stream_jobs.writeback import postgres, record, service


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    verbs = subparsers.add_parser(
        "writeback", help="predictions written into a table of the business database"
    ).add_subparsers(dest="writeback_verb", metavar="VERB", required=True)

    adding = verbs.add_parser("add", help="check the table, then write every prediction of the service there")
    adding.add_argument("service", metavar="SERVICE")
    adding.add_argument(
        "--table", required=True, metavar="SCHEMA.NAME", help="a table of its own, never a captured one"
    )
    adding.add_argument("--url", metavar="URL", help="postgresql://HOST:PORT/DATABASE, if not the service's own source")
    adding.add_argument(
        "--by", choices=("event", "prediction"), default="event",
        help="a row an event, its newest prediction (the default), or a row a prediction",
    )  # fmt: skip
    adding.add_argument("--print-sql", action="store_true", help="only print what the administrator must run")
    password.arguments(adding)
    _json(adding, _add)

    _json(verbs.add_parser("list", help="every service whose predictions are written back"), _list)
    checking = verbs.add_parser("check", help="check the table again; exit status 0 if all is well")
    checking.add_argument("service", metavar="SERVICE")
    _json(checking, _check)
    removing = verbs.add_parser("remove", help="write no more, and say how to take back what was touched")
    removing.add_argument("service", metavar="SERVICE")
    _json(removing, _remove)


def _json(parser: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int]) -> None:
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)


def _print(arguments: argparse.Namespace, answer: Any, text: str) -> None:
    sys.stdout.write((json.dumps(answer) if arguments.json else text) + "\n")


def _add(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    target = service.describe(context, plan, arguments.service, arguments.table, arguments.url, arguments.by)
    if (given := password.given(arguments, target.address.user)) is not None:
        context.secrets.put(target.secret, given)
    if arguments.print_sql:
        script = service.script(context, plan, target)
        _print(arguments, {"sql": script}, script.rstrip("\n"))
        return 0
    checks = service.add(context, plan, target)
    text = f"predictions of {target.service} are written to {target.table} of {target.address}"
    _print(arguments, _answer(target, checks), f"{shown(checks)}\n{text}")
    return 0


def _answer(target: record.Target, checks: Sequence[Check]) -> dict[str, Any]:
    return {"target": msgspec.to_builtins(target), "checks": [asdict(each) for each in checks]}


def _list(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    found = [
        msgspec.to_builtins(target) | {"waiting": service.waiting(context, target)}
        for target in record.everyone(context)
    ]
    lines = [
        f"{each['service']:<20} {each['table']} ({each['address']['host']}:{each['address']['port']}"
        f"/{each['address']['database']}), a row a{'n event' if each['by'] == 'event' else ' prediction'}, "
        f"{each['waiting']} waiting"
        for each in found
    ]
    _print(arguments, found, "\n".join(lines) or "nothing is written back; appliance writeback add SERVICE --table …")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    target = record.registered(context, arguments.service)
    checks = service.check(context, target)
    waiting = service.waiting(context, target)
    _print(
        arguments, _answer(target, checks) | {"waiting": waiting}, f"{shown(checks)}\n{waiting} predictions are waiting"
    )
    return 0 if all(each.ok for each in checks) else 1


def _remove(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    target = record.registered(context, arguments.service)
    undo = None if target.sample else postgres_sql.script(postgres.undo(target))
    service.remove(context, target)
    text = f"predictions of {target.service} are no longer written to {target.table}"
    if undo is not None:
        text += f"; to take back what was written too, the administrator of {target.address} runs:\n\n{undo}"
    _print(arguments, {"removed": target.service, "undo_sql": undo}, text)
    return 0
