"""``appliance up | down | status | restart | logs``."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time

import msgspec

from appliance import context as contexts
from appliance import lifecycle, notices, registry
from appliance.errors import UsageError
from appliance.parts.base import Context, Part
from appliance.status import PartStatus, all_ready, of_parts, table
from appliance.supervisor import Supervisor


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    up = subparsers.add_parser("up", help="start everything, or some parts and what they need, and wait until ready")
    up.add_argument("parts", nargs="*", metavar="PART")
    _json(up, _up)

    down = subparsers.add_parser("down", help="stop everything, or some parts and what needs them")
    down.add_argument("parts", nargs="*", metavar="PART")
    _json(down, _down)

    status = subparsers.add_parser(
        "status", help="ask every part whether it really works; exit status 0 if all do and there is no notice"
    )
    status.add_argument("parts", nargs="*", metavar="PART")
    status.add_argument("--timeout", type=float, default=5.0, metavar="SECONDS", help="longest wait for an answer (5)")
    _json(status, _status)

    restart = subparsers.add_parser("restart", help="stop a part and start it with its present configuration")
    restart.add_argument("part", metavar="PART")
    _json(restart, _restart)

    logs = subparsers.add_parser("logs", help="the log of a part")
    logs.add_argument("part", metavar="PART")
    logs.add_argument("-n", "--lines", type=int, default=50, metavar="N", help="so many last lines (50)")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    _json(logs, _logs)


def _json(parser: argparse.ArgumentParser, run: object) -> None:
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)


class _Teller:
    """Tells on stderr what each wait is about; silent with ``--json``."""

    def __init__(self, quiet: bool) -> None:
        self._quiet, self._began, self._lock = quiet, time.monotonic(), threading.Lock()

    def __call__(self, part: str, happens: str) -> None:
        if not self._quiet:
            with self._lock:
                sys.stderr.write(f"{time.monotonic() - self._began:6.1f} s  {part:<18} {happens}\n")
                sys.stderr.flush()


def _selected(names: list[str]) -> dict[str, Part]:
    return registry.with_needs(names or registry.part_names())


def _up(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    parts = _selected(arguments.parts)
    with lifecycle.alone(context):
        seconds = lifecycle.up(context, parts, _Teller(arguments.json))
    if arguments.json:
        _print({"ready": {name: round(taken, 1) for name, taken in seconds.items()}})
    else:
        sys.stdout.write(f"{len(seconds)} parts are ready: {', '.join(seconds)}\n")
    return 0


def _down(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    everything = not arguments.parts
    known = registry.with_needs(_declared(context))
    parts = known if everything else _with_dependents(arguments.parts, known)
    with lifecycle.alone(context):
        lifecycle.down(context, parts, _Teller(arguments.json), everything)
    if arguments.json:
        _print({"stopped": list(parts)})
    elif everything:
        sys.stdout.write("stopped; nothing of this appliance runs\n")
    else:
        sys.stdout.write(f"stopped: {', '.join(parts)}\n")
    return 0


def _declared(context: Context) -> list[str]:
    """Parts that have ever been started here and still exist."""
    names = set(registry.part_names())
    return sorted(name for name in Supervisor(context).states() if name in names)


def _with_dependents(names: list[str], known: dict[str, Part]) -> dict[str, Part]:
    """The named parts and, over and over, every part that needs one of them."""
    for name in names:
        registry.part(name)
    chosen = set(names) & known.keys()
    while more := {name for name, part in known.items() if chosen & set(part.needs)} - chosen:
        chosen |= more
    return {name: part for name, part in known.items() if name in chosen}


def _status(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    names = arguments.parts or registry.part_names()
    statuses = of_parts(context, {name: registry.part(name) for name in names}, arguments.timeout)
    posted = notices.read(context.layout)
    if arguments.json:
        _print(
            {
                "ready": all_ready(statuses),
                "parts": [status.as_json() for status in statuses],
                "memory_mib": _sum(statuses),
                "notices": [msgspec.to_builtins(each) for each in posted],
            }
        )
    else:
        sys.stdout.write(table(statuses) + notices.text(posted))
    return 0 if all_ready(statuses) and not posted else 1


def _sum(statuses: list[PartStatus]) -> dict[str, float]:
    return {
        "rss": round(sum(status.rss_mib for status in statuses), 1),
        "pss": round(sum(status.pss_mib for status in statuses), 1),
    }


def _restart(arguments: argparse.Namespace) -> int:
    context, say = contexts.current(), _Teller(arguments.json)
    parts = registry.with_needs([arguments.part])
    with lifecycle.alone(context):
        supervisor = Supervisor(context)
        if supervisor.pid() is not None:
            lifecycle.stop_one(context, supervisor, parts[arguments.part], say)
        seconds = lifecycle.up(context, parts, say)
    if arguments.json:
        _print({"restarted": arguments.part, "seconds": round(seconds[arguments.part], 1)})
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    if arguments.part != "supervisord" and arguments.part not in registry.part_names():
        registry.part(arguments.part)
    if arguments.json and arguments.follow:
        raise UsageError("logs.json_follow", "--json and --follow do not go together", hint="leave one of them out")
    path = lifecycle.log_file(context, arguments.part)
    if arguments.json:
        _print(
            {
                "part": arguments.part,
                "file": str(path),
                "lines": lifecycle.log_tail(context, arguments.part, arguments.lines),
            }
        )
        return 0
    follow = ["-F"] if arguments.follow else []
    return subprocess.run(["tail", "-n", str(arguments.lines), *follow, str(path)], check=False).returncode


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")
