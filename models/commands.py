"""``appliance model train | import | jobs | cancel | list | show | promote | rollback``."""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import getpass
import hashlib
import sys
from pathlib import Path
from typing import Any

import msgspec

from appliance import context as contexts
from appliance.errors import UsageError
from appliance.parts.base import Context
from models import pipeline
from models.jobs import commands as jobs
from models.learning import commands as learning
from models.pipeline import Wish
from models.registry import ModelVersion, Registry
from models.switching import Actor, Switchboard
from stream_jobs import plan as plans


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    model = subparsers.add_parser("model", help="train models, look at them, choose which one serves")
    verbs = model.add_subparsers(dest="model_verb", metavar="VERB", required=True)
    train = verbs.add_parser("train", help="train a version of a service's model, and serve it if it is good enough")
    train.add_argument("service", metavar="SERVICE")
    _periods(train)
    train.add_argument("--seed", type=int, default=7, metavar="N", help="of everything that is random (7)")
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if there is")
    train.add_argument("--no-promote", action="store_true", help="leave the version a candidate")
    train.add_argument("--no-wait", action="store_true", help="queue it, and follow it with `appliance model jobs`")
    _answer(train, _train)
    brought = verbs.add_parser("import", help="bring in a model made elsewhere (ONNX), through the same gate")
    brought.add_argument("service", metavar="SERVICE")
    brought.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="takes the recipe's inputs")
    _periods(brought)
    brought.add_argument("--promote", action="store_true", help="serve it if the gate lets it (else: a candidate)")
    brought.add_argument("--no-wait", action="store_true", help="queue it, and follow it with `appliance model jobs`")
    _answer(brought, _import)
    listing = verbs.add_parser("list", help="every model and version")
    listing.add_argument("model", nargs="?", metavar="MODEL")
    _answer(listing, _list)
    show = verbs.add_parser("show", help="everything known of a version (default: the champion)")
    show.add_argument("model", metavar="MODEL")
    show.add_argument("version", nargs="?", type=int, metavar="VERSION")
    _answer(show, _show)
    promote = verbs.add_parser("promote", help="serve a version")
    promote.add_argument("model", metavar="MODEL")
    promote.add_argument("version", type=int, metavar="VERSION")
    promote.add_argument("--force", action="store_true", help="also one that the gate refused")
    _why(promote)
    _answer(promote, _promote)
    rollback = verbs.add_parser("rollback", help="serve the champion before the present one")
    rollback.add_argument("model", metavar="MODEL")
    _why(rollback)
    _answer(rollback, _rollback)
    jobs.register(verbs)
    learning.register(verbs)


def _why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", default="", metavar="TEXT", help="reason, for the record of acts")


def _periods(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--train-from", metavar="DATE", help="first day of training, UTC (default: the recipe's length)"
    )
    parser.add_argument("--train-to", metavar="DATE", help="last day of training, UTC (default: the latest possible)")
    parser.add_argument("--gap-days", type=int, metavar="N", help="days between training and test (recipe)")
    parser.add_argument("--test-days", type=int, metavar="N", help="days of the test (recipe)")


def _answer(parser: argparse.ArgumentParser, run: object) -> None:
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)


def _print(value: Any) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")


def _day(text: str | None, option: str, days_later: int = 0) -> int | None:
    """Midnight (µs UTC) at the start of a day such as 2018-07-25, or some days later."""
    if text is None:
        return None
    try:
        day = datetime.date.fromisoformat(text) + datetime.timedelta(days=days_later)
    except ValueError as error:
        raise UsageError(
            "model.date", f"{option} must be a day such as 2018-07-25, got {text!r}", hint="appliance model train -h"
        ) from error
    return int(datetime.datetime.combine(day, datetime.time(), datetime.UTC).timestamp()) * 1_000_000


def _wish(arguments: argparse.Namespace) -> Wish:
    return Wish(
        train_from=_day(arguments.train_from, "--train-from"),
        train_to=_day(arguments.train_to, "--train-to", days_later=1),
        gap_days=arguments.gap_days,
        test_days=arguments.test_days,
    )


def _train(arguments: argparse.Namespace) -> int:
    wish = dataclasses.replace(
        _wish(arguments), seed=arguments.seed, device=arguments.device, promote=not arguments.no_promote
    )
    return _made(contexts.current(), "train", wish, arguments)


def _import(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    try:
        content = arguments.onnx.read_bytes()
    except OSError as error:
        raise UsageError(
            "model.file", f"{arguments.onnx} cannot be read by user {getpass.getuser()}: {error.strerror}",
            hint="the appliance's user needs to read the file and its folder: chmod a+r, or a copy in /tmp",
        ) from error  # fmt: skip
    folder = context.data("models") / ".imports"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{hashlib.sha256(content).hexdigest()}.onnx"
    kept.write_bytes(content)
    wish = dataclasses.replace(_wish(arguments), promote=arguments.promote, onnx=str(kept))
    return _made(context, "import", wish, arguments)


def _made(context: Context, kind: str, wish: Wish, arguments: argparse.Namespace) -> int:
    """Queue a job that makes a version, follow it, and tell of the version."""
    service = plans.read(context.layout.plan_file).wanted_service(arguments.service)
    asked = {"service": service.name, "wish": dataclasses.asdict(wish)}
    job = jobs.add(context, kind, service.model, asked)
    if not arguments.no_wait:
        job = jobs.followed(context, job)
    if job.result is None:
        jobs.show(job, arguments.json)
        return 0
    registry = Registry.of(context)
    record = registry.get(job.result["model"], job.result["version"])
    if arguments.json:
        _print(_described(registry, record))
    else:
        _show_record(registry, record)
    return 0


def _described(registry: Registry, record: ModelVersion) -> dict[str, Any]:
    return {**msgspec.to_builtins(record), "state": registry.state(record.model, record.version)}


def _list(arguments: argparse.Namespace) -> int:
    registry = Registry.of(contexts.current())
    models = [arguments.model] if arguments.model else registry.models()
    records = [record for model in models for record in registry.versions(model)]
    if arguments.json:
        _print([_described(registry, record) for record in records])
        return 0
    sys.stdout.write(f"{'model':<20} {'version':>7}  {'state':<10} {'AUC ROC':>8} {'avg prec':>8}  trained on\n")
    for record in records:
        judged = record.evaluation
        sys.stdout.write(
            f"{record.model:<20} {record.version:>7}  {registry.state(record.model, record.version):<10} "
            f"{judged.auc_roc:>8.4f} {judged.average_precision:>8.4f}  {pipeline.periods(record)['train']}\n"
        )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    registry = Registry.of(contexts.current())
    version = arguments.version
    if version is None:
        champion = registry.champion(arguments.model)
        version = champion.version if champion else registry.versions(arguments.model)[-1].version
    record = registry.get(arguments.model, version)
    if arguments.json:
        _print(_described(registry, record))
    else:
        _show_record(registry, record)
    return 0


def _show_record(registry: Registry, record: ModelVersion) -> None:
    judged, frame, suggested = record.evaluation, record.frame, record.thresholds
    periods = pipeline.periods(record)
    decline = "none is sure enough" if suggested.decline is None else f"{suggested.decline:.3f}"
    lines = {
        "state": registry.state(record.model, record.version),
        "trained on": f"{periods['train']}: {frame.rows['fit']} rows and {frame.rows['tail']} of the tail",
        "tested on": f"{periods['test']}: {judged.rows} rows, {judged.positives} positive, {judged.left_out} left out",
        **_measures(record),
        "suggested": f"review from {suggested.review:.3f}, decline from {decline}",
    }
    if suggested.by_cost is not None:
        cost = suggested.by_cost
        lines["by cost"] = (
            f"review from {cost.review:.3f}: {cost.reviews_per_day:.0f} a day, {cost.cost_per_day:,.0f} a day in all "
            f"(the policy's threshold: {cost.cost_of_policy:,.0f}, looking at nothing: {cost.cost_without:,.0f})"
        )
    lines["torch = ONNX"] = f"to {record.torch_onnx_difference:.1e}; = Triton to {record.triton_difference:.1e}"
    lines["made"] = (
        f"{record.origin}, {record.train_seconds:.0f} s on {record.device}, seed {record.seed}, epochs {record.epochs}"
    )
    lines["files"] = str(registry.path(record.model, record.version))
    lines |= {f"gate: {check.name}": f"{check.got}{' REFUSED' if check.refusal else ''}" for check in record.checks}
    if record.refused:
        lines["not promoted"] = record.refused
    sys.stdout.write(f"{record.model} version {record.version}\n")
    width = max(len(name) for name in lines)
    sys.stdout.writelines(f"  {name:<{width}} {value}\n" for name, value in lines.items())


def _measures(record: ModelVersion) -> dict[str, str]:
    """Each measure, and that of the baseline beside it."""
    judged, beside = record.evaluation, record.baseline
    figures = {
        "AUC ROC": "auc_roc", "average precision": "average_precision", f"precision@{judged.top}": "top_precision",
        "Brier score": "brier",
    }  # fmt: skip
    lines = {}
    for name, measure in figures.items():
        value = getattr(judged, measure)
        if value is not None:
            other = "" if beside is None else f"   ({beside.kind}: {getattr(beside.evaluation, measure):.4f})"
            lines[name] = f"{value:.4f}{other}"
    return lines


def _promote(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    actor = Actor.by_command(context, arguments.why)
    record = Switchboard(context).promote(arguments.model, arguments.version, actor, force=arguments.force)
    return _serving(context, record, arguments)


def _rollback(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    record = Switchboard(context).rollback(arguments.model, Actor.by_command(context, arguments.why))
    return _serving(context, record, arguments)


def _serving(context: Context, record: ModelVersion, arguments: argparse.Namespace) -> int:
    if arguments.json:
        _print(_described(Registry.of(context), record))
    else:
        sys.stdout.write(f"version {record.version} of {record.model} is served\n")
    return 0
