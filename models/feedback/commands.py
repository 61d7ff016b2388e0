"""``appliance feedback show SERVICE EVENT_KEY``."""

from __future__ import annotations

import argparse
import shutil
import sys
from datetime import UTC, datetime

import msgspec

from appliance import context as contexts
from models import events, pipeline
from models.feedback import reading
from models.feedback.settle import settle
from stream_jobs import plan as plans


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    feedback = subparsers.add_parser("feedback", help="what is said of events, and which answer counts")
    verbs = feedback.add_subparsers(dest="feedback_verb", metavar="VERB", required=True)
    show = verbs.add_parser("show", help="everything that was said of one event, and the answer that follows")
    show.add_argument("service", metavar="SERVICE")
    show.add_argument("event_key", metavar="EVENT_KEY")
    show.add_argument("--json", action="store_true", help="answer as JSON")
    show.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    service, recipe = plan.service(arguments.service), pipeline.read_recipe(plan.scenario)
    _, labels = events.tables(plan, service, recipe)
    scratch = context.run("feedback") / "scratch"
    try:
        said = reading.of_event(context, service, labels, recipe, arguments.event_key, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    answer = settle(said)
    if arguments.json:
        told = {"event_key": arguments.event_key, "said": said, "settled": answer}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(told), indent=1).decode() + "\n")
        return 0
    for one in said:
        label = "taken back" if one.label is None else one.label
        sys.stdout.write(f"{_time(one.known_at)}  {one.source:<8} {label!s:<10} {one.statement_id}\n")
    sys.stdout.write(f"settled: {answer.label}, by {answer.source}\n" if answer else "nothing is settled\n")
    return 0


def _time(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
