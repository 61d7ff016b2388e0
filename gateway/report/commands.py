"""``appliance measure`` and ``appliance report``."""

from __future__ import annotations

import argparse
import subprocess
import sys

import msgspec

from appliance import context as contexts
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway.report import latency, text
from gateway.report.summary import gather, latency_file
from stream_jobs import plan as plans


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    measure = subparsers.add_parser(
        "measure", help="replay sample rows one by one and measure commit → servable and commit → prediction"
    )
    measure.add_argument("service", metavar="SERVICE")
    measure.add_argument(
        "--rows", type=int, default=1000, metavar="N", help="rows to commit, payments and labels (1000)"
    )
    measure.add_argument("--rate", type=float, default=50.0, metavar="R", help="rows a second (50)")
    measure.add_argument(
        "--timeout",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="longest time for the views to catch up, and again for the rows (300)",
    )
    measure.add_argument("--json", action="store_true", help="answer as JSON")
    measure.set_defaults(run=_measure)
    report = subparsers.add_parser("report", help="what was captured, scored and alerted; the model; latency")
    report.add_argument("--json", action="store_true", help="answer as JSON")
    report.set_defaults(run=_report)


def _replay(rows: int, rate: float) -> None:
    """Commit rows of the sample in a process of its own, as the business's applications would."""
    subprocess.run(
        [sys.executable, "-m", "appliance", "sample", "replay", "--rows", str(rows), "--rate", str(rate)],
        check=False,
        stdout=sys.stderr,
    )


def _measure(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    service = plan.service(arguments.service)
    views = [plan.view(name) for name in service.views]
    latency.wait_caught_up(context, views, arguments.timeout)
    seen = latency.measure(context, service, views, arguments.timeout, lambda: _replay(arguments.rows, arguments.rate))
    if seen.scored is None:
        raise ApplianceError(
            "measure.nothing",
            f"no row committed to the business database was scored within {arguments.timeout:.0f} s",
            hint="`appliance status` says which part does not work; `appliance sample status` whether rows are left",
        )
    _keep(context, service.name, seen)
    sys.stdout.write((msgspec.json.encode(seen).decode() if arguments.json else text.of_latency(seen)) + "\n")
    return 0


def _keep(context: Context, service: str, seen: latency.Latency) -> None:
    latency_file(context, service).write_bytes(msgspec.json.encode(seen))


def _report(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    report = gather(context)
    sys.stdout.write((msgspec.json.encode(report).decode() if arguments.json else text.of_report(report)) + "\n")
    return 0
