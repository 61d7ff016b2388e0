"""``appliance rebuild redis|hbase VIEW``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time

from appliance import context as contexts
from appliance import users
from appliance.clients import redis as redis_clients
from appliance.errors import UsageError
from stream_jobs import plan as plans
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild.result import Progress, Result

_TELL_SECONDS = 2.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    rebuild = subparsers.add_parser(
        "rebuild",
        help="fill a view's store again from the lake, while it is read and written",
        description="Makes what a store holds of a view exactly what the lake's change tables say. Reads and scoring "
        "go on: a read finds the old content of an entity or the new one, never none. Killed in the middle: run it "
        "again.",
    )
    rebuild.add_argument("store", choices=("redis", "hbase"), help="which store")
    rebuild.add_argument("view", metavar="VIEW", help="a view of the plan, or NAME.vN for one version of it")
    rebuild.add_argument("--yes", action="store_true", help="do not ask")
    rebuild.add_argument("--json", action="store_true", help="answer as JSON")
    rebuild.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    view = _view(plan, arguments.view)
    if not arguments.yes and not _agreed(arguments.store, view):
        raise UsageError(
            "rebuild.not_confirmed", "nothing was changed",
            hint=f"appliance rebuild {arguments.store} {arguments.view} --yes",
        )  # fmt: skip
    tell = _Teller(arguments.json)
    with redis_clients.connect(context, users.ADMINISTRATOR) as redis:
        if arguments.store == "redis":
            from stream_jobs.rebuild.redis import RedisRebuild

            result = RedisRebuild(context, plan, view, redis, tell).run()
        else:
            from stream_jobs.online.hbase_progress import HBaseProgress
            from stream_jobs.rebuild.hbase import HBaseRebuild

            reached = HBaseProgress.read(redis, context.names).reached.get(view.edits_topic)
            result = HBaseRebuild(context, plan, view, reached.position if reached else None, tell).run()
    sys.stdout.write(json.dumps(dataclasses.asdict(result)) + "\n" if arguments.json else _text(result))
    return 0


def _view(plan: Plan, name: str) -> View:
    for view in plan.computed:
        if name == f"{view.name}.v{view.version}":
            return view
    return plan.view(name)


def _agreed(store: str, view: View) -> bool:
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"Fill {view.name}.v{view.version} in {store} again from the lake? Reads go on meanwhile. [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _text(result: Result) -> str:
    rate = result.edits / result.seconds if result.seconds else 0.0
    what = "entities" if result.store == "redis" else "edits"
    lines = [
        f"{result.view} in {result.store} is what the lake says (version {result.lake_version}, position "
        f"{result.position})",
        f"  {result.entities} entities, {result.edits} edits in {result.seconds:.1f} s ({rate:.0f} edits/s)",
        f"  {result.changed} entities held something else than the lake says; {result.unknown} {what} it does not know",
    ]
    if result.store == "hbase":
        lines.append(f"  {result.missing} edits were missing or wrong and have been written")
    else:
        lines.append(f"  {result.bytes_before} bytes before, {result.bytes_after} after")
    if result.refused:
        lines.append(f"  {result.refused} edits do not fit the view; the writer put them aside when they came")
    return "\n".join(lines) + "\n"


class _Teller:
    """Progress on stderr for a person, nothing with --json."""

    def __init__(self, silent: bool) -> None:
        self._silent, self._began = silent, time.monotonic()
        self._told_at, self._what = float("-inf"), ""

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        if self._silent or (progress.what == self._what and now - self._told_at < _TELL_SECONDS):
            return
        self._told_at, self._what = now, progress.what
        share = f" {100 * progress.done / progress.of:.0f} %" if progress.of else ""
        count = f": {progress.done}{f' of {progress.of}' if progress.of else ''}{share}" if progress.done else ""
        sys.stderr.write(f"{now - self._began:6.1f} s  {progress.what}{count}\n")
        sys.stderr.flush()
