"""``appliance parity SERVICE | list | show``."""

from __future__ import annotations

import argparse
import json
import random
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from appliance import context as contexts
from appliance.clock import wall_us
from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.errors import ParityError

if TYPE_CHECKING:
    from stream_jobs.parity.ledger import Selection

_SAMPLE = 1000
_WAIT_SECONDS = 60.0
_WAYS = ("cdc", "http", "kafka")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb. Feast and what reads the stores take seconds to import: only a comparison does it."""
    parity = subparsers.add_parser(
        "parity",
        help="prove that the values served are those of HBase and of training, at the same cut",
        description="Compares, for predictions of the ledger, each feature's logged value with the value from HBase at "
        "the same cut and with Feast's point-in-time join over the lake at the same cut. Writes a certificate for each "
        "view. Exit status 1 when anything differs. `parity list [VIEW]` names the certificates kept, "
        "`parity show VIEW[.vN]|FILE` shows one.",
    )
    parity.add_argument("what", metavar="SERVICE|list|show")
    parity.add_argument("name", nargs="?", default="", metavar="VIEW|FILE", help="of list and show")
    rows = parity.add_mutually_exclusive_group()
    rows.add_argument("--all", action="store_true", help="every prediction of the ledger")
    rows.add_argument("--sample", type=int, metavar="N", help=f"so many predictions, chosen by the seed ({_SAMPLE})")
    parity.add_argument("--seed", type=int, metavar="S", help="the same seed chooses the same predictions (random)")
    parity.add_argument("--since", default="", metavar="TIME", help="scored at or after this time (ISO 8601, UTC)")
    parity.add_argument("--until", default="", metavar="TIME", help="scored at or before this time (now)")
    parity.add_argument("--way", default="", choices=_WAYS, help="only predictions that came in this way")
    parity.add_argument("--out", type=Path, metavar="DIR", help="keep the certificates there (data/parity)")
    parity.add_argument(
        "--wait", type=float, default=_WAIT_SECONDS, metavar="SECONDS",
        help=f"longest wait for HBase and the lake to hold all that was read ({_WAIT_SECONDS:.0f})",
    )  # fmt: skip
    parity.add_argument("--json", action="store_true", help="answer as JSON")
    parity.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    verbs: dict[str, Callable[[Context, argparse.Namespace], int]] = {"list": _list, "show": _show}
    if arguments.what in verbs:
        return verbs[arguments.what](context, arguments)
    if arguments.name:
        raise UsageError("parity.words", f"what is {arguments.name!r}? A comparison takes one service")
    return _compare(context, arguments)


def _compare(context: Context, arguments: argparse.Namespace) -> int:
    from stream_jobs.parity import certificate, kept
    from stream_jobs.parity.ledger import Selection
    from stream_jobs.parity.service import compare

    plan = plans.read(context.layout.plan_file)
    service = plan.service(arguments.what)
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    sample = None if arguments.all else arguments.sample if arguments.sample is not None else _SAMPLE
    if sample is not None and sample < 1:
        raise UsageError("parity.sample", f"--sample must be at least 1, got {sample}")
    until = parse_time(arguments.until, "--until") if arguments.until else wall_us()
    since = parse_time(arguments.since, "--since") if arguments.since else 0
    selection = Selection(sample, seed, since, until, arguments.way)
    command = _command(service.name, selection)
    say = _silent if arguments.json else _tell
    made = compare(context, plan, service, selection, command, arguments.wait, say)
    root = arguments.out.absolute() if arguments.out else kept.folder(context)
    files = [certificate.keep(each, root) for each in made]
    if arguments.json:
        records = [{"file": str(path)} | msgspec.to_builtins(each) for path, each in zip(files, made, strict=True)]
        sys.stdout.write(json.dumps({"certificates": records}) + "\n")
    else:
        for path, each in zip(files, made, strict=True):
            sys.stdout.write("\n".join([*certificate.lines(each), f"  certificate: {path}"]) + "\n")
        sys.stdout.write(_sum(sum(each.rows_different for each in made), made[0].ledger_rows if made else 0, command))
    return 1 if any(each.rows_different for each in made) else 0


def _sum(different: int, rows: int, command: str) -> str:
    verdict = "every value is the same in all legs" if not different else f"{different} rows DIFFER"
    if not rows:
        verdict = "the ledger has no such prediction: nothing was compared"
    return f"{verdict}; to make it again: {command}\n"


def _command(service: str, selection: Selection) -> str:
    words = ["appliance", "parity", service]
    words += (
        ["--all"] if selection.sample is None else ["--sample", str(selection.sample), "--seed", str(selection.seed)]
    )
    if selection.since:
        words += ["--since", _iso(selection.since)]
    words += ["--until", _iso(selection.until)]
    words += ["--way", selection.way] if selection.way else []
    return shlex.join(words)


def _list(context: Context, arguments: argparse.Namespace) -> int:
    from stream_jobs.parity import certificate, kept

    root = arguments.out.absolute() if arguments.out else kept.folder(context)
    found = [(path, certificate.read(path)) for path in kept.files(root, arguments.name)]
    if arguments.json:
        records = [
            {
                "file": str(path), "view": one.name, "service": one.service, "made_at": one.made_at,
                "rows_compared": one.rows_compared, "rows_different": one.rows_different,
            }
            for path, one in found
        ]  # fmt: skip
        sys.stdout.write(json.dumps({"certificates": records}) + "\n")
        return 0
    for path, one in found:
        sys.stdout.write(
            f"{one.made_at[:19]}  {one.name:<32} {one.rows_compared:>10,} compared {one.rows_different:>8,} different"
            f"  {path}\n"
        )
    sys.stdout.write(f"{len(found)} certificates in {root}\n")
    return 0


def _show(context: Context, arguments: argparse.Namespace) -> int:
    from stream_jobs.parity import certificate, kept

    if not arguments.name:
        raise UsageError("parity.show", "which certificate?", hint="appliance parity show VIEW[.vN]|FILE")
    root = arguments.out.absolute() if arguments.out else kept.folder(context)
    path = Path(arguments.name)
    if not path.is_file():
        found = kept.files(root, arguments.name)
        if not found:
            raise ParityError(
                "parity.none", f"there is no certificate of {arguments.name!r} in {root}", hint="appliance parity list"
            )
        path = found[-1]
    one = certificate.read(path)
    if arguments.json:
        sys.stdout.write(json.dumps({"file": str(path)} | msgspec.to_builtins(one)) + "\n")
    else:
        made = f"  made {one.made_at}, definition {one.definition_hash[:12]}, code {one.code_hash[:12]}"
        again = f"  to make it again: {one.command}"
        sys.stdout.write(
            "\n".join([*certificate.lines(one), made, again, f"  file {path}, SHA-256 {one.sha256}"]) + "\n"
        )
    return 1 if one.rows_different else 0


def parse_time(text: str, option: str) -> int:
    """µs UTC. Raises UsageError that names the option."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError("parity.time", f"{option} must be a time such as 2026-11-23T16:00:00, got {text!r}") from None
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at
    return round(at.timestamp() * 1_000_000)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at // 1_000_000, UTC).replace(microsecond=at % 1_000_000).isoformat()


def _silent(line: str) -> None:
    """Says nothing."""


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
