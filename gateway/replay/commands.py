"""``appliance replay PREDICTION_ID … | --sample N``."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from appliance import context as contexts
from appliance.clock import wall_us
from appliance.errors import UsageError
from appliance.parts.base import Context
from gateway.errors import NotFoundError
from stream_jobs import plan as plans
from stream_jobs.parity.commands import parse_time
from stream_jobs.plan import Plan

if TYPE_CHECKING:
    from gateway.replay.run import Replayed, Summary

_WAIT_SECONDS = 30.0
_MOST_SHOWN = 20


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    replay = subparsers.add_parser(
        "replay",
        help="compute past predictions again from what they name, and say what differs",
        description="Computes predictions of the ledger again: features from the lake at the same cut with the same "
        "definition, the score with the same model version's file in Triton, the decision by the policy of that time. "
        "Prints `equal`, or the first thing that differs. Exit status 0 only if every one was computed and is equal.",
    )
    replay.add_argument("ids", nargs="*", metavar="PREDICTION_ID")
    replay.add_argument("--sample", type=int, metavar="N", help="so many predictions, chosen at random by the seed")
    replay.add_argument("--service", metavar="SERVICE", help="of this service (of every one that is served)")
    replay.add_argument("--seed", type=int, metavar="S", help="the same seed chooses the same predictions (random)")
    replay.add_argument("--since", default="", metavar="TIME", help="scored at or after this time (ISO 8601, UTC)")
    replay.add_argument("--until", default="", metavar="TIME", help="scored at or before this time (now)")
    replay.add_argument(
        "--wait", type=float, default=_WAIT_SECONDS, metavar="SECONDS",
        help=f"longest wait for the lake to hold what was read ({_WAIT_SECONDS:.0f})",
    )  # fmt: skip
    replay.add_argument("--json", action="store_true", help="answer as JSON")
    replay.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from gateway.replay.run import summary

    if bool(arguments.ids) == (arguments.sample is not None):
        raise UsageError("replay.what", "name predictions by their ids, or give --sample N", hint="appliance replay -h")
    if arguments.sample is not None and arguments.sample < 1:
        raise UsageError("replay.sample", f"--sample must be at least 1, got {arguments.sample}")
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    services = [plan.service(arguments.service).name] if arguments.service else [each.name for each in plan.services]
    select, again = _selection(arguments)
    began = time.monotonic()
    results = [one for service in services for one in _of_service(context, plan, service, select, arguments)]
    if missing := sorted(set(arguments.ids) - {each.prediction_id for each in results}):
        raise NotFoundError(
            "replay.unknown", f"the ledger has no prediction {', '.join(missing)}",
            hint="a prediction is in the lake some seconds after it was made: `appliance freshness`",
        )  # fmt: skip
    found = summary(results, began)
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n" if arguments.json else _text(found, again))
    return 0 if found.proven else 1


def _selection(arguments: argparse.Namespace) -> tuple[Callable[[str], str], str]:
    """(relation → SELECT of its predictions, how to say it again)."""
    from gateway.replay import ledger
    from stream_jobs.parity.ledger import Selection

    if arguments.ids:
        return lambda table: ledger.by_id(table, arguments.ids), ""
    seed = random.randrange(2**31) if arguments.seed is None else arguments.seed
    since = parse_time(arguments.since, "--since") if arguments.since else 0
    until = parse_time(arguments.until, "--until") if arguments.until else wall_us()
    selection = Selection(arguments.sample, seed, since, until)
    return lambda table: selection.sql(table, ledger.COLUMNS), f"--sample {arguments.sample} --seed {seed}"


def _of_service(
    context: Context, plan: Plan, service: str, select: Callable[[str], str], arguments: argparse.Namespace
) -> list[Replayed]:
    from gateway.replay.run import replay

    found: list[Replayed] = []
    for some in replay(context, plan, service, select, arguments.wait):
        found += some
        if not arguments.json and arguments.sample:
            sys.stderr.write(f"{service}: {len(found):,} predictions replayed\n")
    return found


def _text(found: Summary, again: str) -> str:
    lines = []
    for each in found.results[:_MOST_SHOWN]:
        if each.difference is not None:
            one = each.difference
            lines.append(
                f"{each.prediction_id}  {one.what} differs: {one.name}: expected {one.expected!r}, got {one.got!r}"
            )
        elif each.reason:
            lines.append(f"{each.prediction_id}  not recomputed: {each.reason}")
        elif not again:
            exact = "to the bit" if each.bits else f"within {found.score_tolerance:g}"
            place = "; the place for its review is the ledger's word" if each.place_from_ledger else ""
            lines.append(f"{each.prediction_id}  equal (score {exact}{place})")
    lines.append(
        f"{found.equal:,} of {found.predictions:,} equal ({found.bits_equal:,} scores to the bit, the others within "
        f"{found.score_tolerance:g}), {found.differ:,} differ, {found.not_recomputed:,} not recomputed, "
        f"in {found.seconds:.1f} s"
    )
    if again:
        versions = ", ".join(f"{name}: {number:,}" for name, number in sorted(found.models.items()))
        lines.append(f"model versions: {versions}; definitions: {len(found.definitions)}; to make it again: {again}")
    if found.places_from_ledger:
        lines.append(f"{found.places_from_ledger:,} decisions follow the ledger's word on a place for a review")
    return "\n".join(lines) + "\n"
