"""``appliance freshness``."""

from __future__ import annotations

import argparse
import sys
import time

import msgspec

from appliance import context as contexts
from appliance import users
from appliance.clients import kafka
from appliance.clients import redis as redis_clients
from stream_jobs import plan as plans
from stream_jobs.freshness.measure import Freshness, Meter, ViewFreshness

_BETWEEN_SECONDS = 1.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    freshness = subparsers.add_parser(
        "freshness",
        help="how fresh every view is in every store",
        description="For each view and store: the age of the position reached (every change up to it is there), "
        "records still to take in, and how many were taken in per second, measured over one second.",
    )
    freshness.add_argument("--json", action="store_true", help="answer as JSON")
    freshness.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    consumer = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.freshness")
    with redis_clients.connect(context, users.ADMINISTRATOR) as redis:
        meter = Meter(context, redis, consumer)
        meter.measure(plan)
        time.sleep(_BETWEEN_SECONDS)
        found = meter.measure(plan)
    consumer.close()
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n" if arguments.json else table(found))
    return 0


def table(freshness: Freshness) -> str:
    """For a person to read: one line a view and store."""
    lines = [f"{'view':<32} {'store':<6} {'age':>10} {'lag':>12} {'a second':>9}  position reached"]
    lines += [_line(one) for one in freshness.views]
    stale = sum(one.stale for one in freshness.views)
    lines.append(f"{stale} of {len(freshness.views)} are older than their view allows" if stale else "all are fresh")
    return "\n".join(lines) + "\n"


def _line(one: ViewFreshness) -> str:
    name = f"{one.view}.v{one.version}"
    age = "never" if one.age_ms is None else f"{one.age_ms / 1000:.1f} s"
    mark = "  stale" if one.stale else ""
    rate = one.records_per_second or 0.0
    return f"{name:<32} {one.store:<6} {age:>10} {one.lag_records:>12} {rate:>9.0f}  {one.position or '-'}{mark}"
