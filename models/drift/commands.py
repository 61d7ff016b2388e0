"""``appliance drift SERVICE``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import msgspec

from appliance import context as contexts
from stream_jobs import plan as plans

if TYPE_CHECKING:
    from models.drift.kept import Drift


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb."""
    drift = subparsers.add_parser(
        "drift",
        help="compare what is served with what the model learned from",
        description="Compares the features and scores of a service's last predictions (drift.window_hours) with the "
        "training set of the version that serves: PSI, missing, unseen values; and how long labels take. Keeps the "
        "result, and posts a notice when something is past its limit. Exit status 1 then.",
    )
    drift.add_argument("service", metavar="SERVICE")
    drift.add_argument("--json", action="store_true", help="answer as JSON")
    drift.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from models.drift.run import compare

    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    found = compare(context, plan, plan.service(arguments.service))
    sys.stdout.write(msgspec.json.encode(found).decode() + "\n" if arguments.json else _text(found))
    return 1 if found.findings else 0


def _text(found: Drift) -> str:
    few = "" if found.enough else ": too few rows or hours to conclude anything"
    lines = [
        f"{found.service}: {found.rows:,} predictions of {found.hours:.0f} hours against {found.training_rows:,} rows "
        f"that {found.model} version {found.model_version} learned from{few}",
        f"{'feature':<44} {'PSI':>8} {'by chance':>9} {'missing':>8} {'training':>8} {'unseen':>8}",
    ]
    for one in sorted(found.features, key=lambda each: -each.psi):
        lines.append(
            f"{one.feature:<44} {one.psi:>8.4f} {one.psi_by_chance:>9.4f} {one.missing_share:>8.2%} "
            f"{one.training_missing_share:>8.2%} {one.unseen_share:>8.2%}"
        )
    score = "not known" if found.score_psi is None else f"{found.score_psi:.4f}"
    lines.append(f"scores: PSI {score} against those of the later period, which the model had not seen")
    labels = found.labels
    if labels.median_hours is not None and labels.p90_hours is not None:
        lines.append(
            f"labels: {labels.labels:,} in the last 30 days of the data, half of them within {labels.median_hours:.0f} "
            f"hours of the event, 90 % within {labels.p90_hours:.0f}"
        )
    lines += [f"! {one}" for one in found.findings] or ["nothing is past its limit"]
    return "\n".join(lines) + "\n"
