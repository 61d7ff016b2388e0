"""``appliance features plan | apply | list | get | rollback``."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from typing import Any

import msgspec

from appliance import context as contexts
from appliance.clock import wall_us
from appliance.parts.base import Context
from stream_jobs.plan import Plan, View
from stream_jobs.versions import applying, difference, forecast, progress, values
from stream_jobs.versions.difference import Change
from stream_jobs.versions.forecast import Forecast
from stream_jobs.versions.status import VersionStatus, versions
from stream_jobs.versions.transition import key

_LOOK_SECONDS = 1.0
_EVERY_SECONDS = 5.0


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    features = subparsers.add_parser("features", help="what is computed: compare, change, go back, look at values")
    verbs = features.add_subparsers(dest="features_verb", metavar="VERB", required=True)
    plan = verbs.add_parser("plan", help="say what the definitions would change, and what that takes; changes nothing")
    plan.set_defaults(run=_plan)
    apply = verbs.add_parser(
        "apply",
        help="put the definitions into effect: changed views are filled beside the present ones, then readers switch",
    )
    apply.add_argument(
        "--no-wait", action="store_true", help="return at once; `appliance features list` tells the rest"
    )
    apply.set_defaults(run=_apply)
    listed = verbs.add_parser("list", help="every version of every view: state, position reached, age")
    listed.set_defaults(run=_list)
    get = verbs.add_parser("get", help="the values of an entity, as a request would get them now or at another time")
    get.add_argument("view", metavar="VIEW")
    get.add_argument("key", metavar="KEY", nargs="+", help="the entity's join keys, in the view's order")
    get.add_argument("--as-of", metavar="TIME", help="such as 2018-06-01T12:00:00Z (default: the appliance clock)")
    get.add_argument("--version", type=int, metavar="N", help="another version than the one served")
    get.set_defaults(run=_get)
    back = verbs.add_parser("rollback", help="back to the former version of a view, or of everything that has one")
    back.add_argument("view", metavar="VIEW", nargs="?")
    back.set_defaults(run=_rollback)
    for verb in (plan, apply, listed, get, back):
        verb.add_argument("--json", action="store_true", help="answer as JSON")


def _print(answer: Any) -> None:
    sys.stdout.write(json.dumps(msgspec.to_builtins(answer)) + "\n")


def _plan(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    current, wanted = applying.present(context), applying.compiled(context)[0]
    changes = difference.changes(current, wanted)
    forecasts = {
        change.name: forecast.forecast(context, wanted, wanted.view(change.name))
        for change in changes
        if change.what == "view" and change.kind in ("new", "changed")
    }
    refused = applying.refusal(context, current, wanted)
    if arguments.json:
        error = None if refused is None else {"code": refused.code, "message": refused.message, "hint": refused.hint}
        _print({"changes": changes, "forecasts": forecasts, "refused": error})
        return 0
    _say_changes(changes, forecasts)
    if refused is not None:
        sys.stdout.write(f"\napply would refuse this: {refused.message}\n  try: {refused.hint}\n")
    else:
        sys.stdout.write("\nnothing was changed; to change it: appliance features apply\n")
    return 0


def _say_changes(changes: Iterable[Change], forecasts: dict[str, Forecast]) -> None:
    for change in changes:
        version = f"version {change.version}" if change.version else ""
        sys.stdout.write(f"{change.what:<8} {change.name:<32} {change.kind:<10} {version}\n")
        sys.stdout.writelines(f"           {line}\n" for line in change.words)
        if change.what == "view" and change.name in forecasts:
            sys.stdout.writelines(f"           {line}\n" for line in _forecast_lines(forecasts[change.name]))


def _forecast_lines(found: Forecast) -> list[str]:
    return [
        f"to read: {found.records:,} records, about {_seconds(found.seconds)} at {found.rate:,.0f} a second"
        f" ({found.rate_from})",
        f"to hold: about {_size(found.redis_bytes)} in Redis ({found.rows.recent:,} rows of {found.rows.entities:,}"
        f" entities), {_size(found.hbase_bytes)} in HBase ({found.rows.edits:,} edits)",
        f"its past: {found.history}",
    ]


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _size(count: int) -> str:
    return f"{count / 1024:.0f} KiB" if count < 1024 * 1024 else f"{count / 1024 / 1024:,.1f} MiB"


def _apply(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    changes, plan = applying.apply(context)
    if not arguments.json:
        _say_changes([change for change in changes if change.kind != "unchanged"], {})
    done = "in effect" if not plan.coming and not plan.coming_services else "begun"
    if done == "begun" and not arguments.no_wait:
        done = _follow(context, quiet=arguments.json)
    if arguments.json:
        _print({"changes": changes, "done": done, "steps": progress.read(context).steps})
    else:
        counted = sum(change.kind != "unchanged" for change in changes)
        follow = "" if done == "in effect" else "; to follow it: appliance features list"
        sys.stdout.write(f"{counted} differences; {done}{follow}\n")
    return 1 if done == "differs" else 0


def _follow(context: Context, quiet: bool) -> str:
    """Wait until readers have switched, or cannot: "in effect", "differs" or "waiting" (for a model)."""
    begun, said, said_at = wall_us(), "", 0.0
    while True:
        plan, seen = applying.present(context), progress.read(context)
        if not plan.coming and not plan.coming_services:
            return "in effect"
        if seen.at > begun:
            told = "\n".join(f"  {name}: {step.state}: {step.text}" for name, step in seen.steps.items() if step.text)
            if not quiet and told != said and time.monotonic() - said_at >= _EVERY_SECONDS:
                sys.stdout.write(told + "\n")
                sys.stdout.flush()
                said, said_at = told, time.monotonic()
            states = {step.state for name, step in seen.steps.items() if step.state != "removing"}
            if "differs" in states or (states and states <= {"ready", "waiting"} and "waiting" in states):
                if not quiet and told != said:
                    sys.stdout.write(told + "\n")
                return "differs" if "differs" in states else "waiting"
        time.sleep(_LOOK_SECONDS)


def _list(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    plan = applying.present(context)
    found = versions(context, plan)
    steps = progress.read(context).steps
    if arguments.json:
        _print({"versions": found, "services": _services(plan), "steps": steps})
        return 0
    sys.stdout.write(f"{'view':<28} {'version':>7}  {'state':<8} {'behind':>9}  {'definition':<12}  reached\n")
    sys.stdout.writelines(map(_version_line, found))
    for one in _services(plan):
        others = "".join(f", {state} {one[state]}" for state in ("coming", "former") if one[state])
        sys.stdout.write(f"service {one['name']}: model {one['model']}{others}\n")
    for name, step in steps.items():
        sys.stdout.write(f"{name}: {step.state}{f': {step.text}' if step.text else ''}\n")
    return 0


def _services(plan: Plan) -> list[dict[str, str]]:
    """Each service's model, the one that is to come, and the one to go back to ("" for none)."""
    coming = {service.name: service.model for service in plan.coming_services}
    former = {service.name: service.model for service in plan.former_services}
    return [
        {"name": s.name, "model": s.model, "coming": coming.get(s.name, ""), "former": former.get(s.name, "")}
        for s in plan.services
    ]


def _version_line(one: VersionStatus) -> str:
    behind = "-" if one.age_ms is None else f"{one.age_ms / 1000:,.1f} s"
    kept = (
        f"  kept until {time.strftime('%Y-%m-%d %H:%M', time.gmtime(one.kept_until / 1e6))} UTC"
        if one.kept_until
        else ""
    )
    return (
        f"{one.view:<28} {one.version:>7}  {one.state:<8} {behind:>9}  {one.definition_hash[:12]:<12}  "
        f"{one.reached or 'nothing yet'}{kept}\n"
    )


def _get(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    as_of = None if arguments.as_of is None else values.parse_time(arguments.as_of)
    found = values.read(context, applying.present(context), arguments.view, arguments.version, arguments.key, as_of)
    if arguments.json:
        _print(found)
        return 0
    sys.stdout.write(
        f"{found.view} version {found.version} of {', '.join(f'{k}={v}' for k, v in found.entity.items())}\n"
    )
    sys.stdout.write(f"as of {found.as_of}, at position {found.reached or 'nothing reached yet'}\n")
    sys.stdout.writelines(
        f"  {name:<36} {_shown(one.value)}{_note(one.status)}\n" for name, one in found.features.items()
    )
    return 0


def _shown(value: object) -> str:
    return "null" if value is None else str(value)


def _note(status: str) -> str:
    return "   (never seen: an empty window's value)" if status == "missing" else ""


def _rollback(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    before, after = applying.rollback(context, arguments.view)
    moved = _moved(before, after)
    if arguments.json:
        _print({"moved": moved})
        return 0
    for each in moved:
        sys.stdout.write(f"{each['name']}: {each['before']} → {each['after']}\n")
    sys.stdout.write(
        "in effect; the definitions in feature_repo still say otherwise: correct them before the next"
        " `appliance features apply`\n"
    )
    return 0


def _moved(before: Plan, after: Plan) -> list[dict[str, str]]:
    """What is served otherwise now, and what is no longer coming."""

    def known(views: Iterable[View]) -> dict[str, str]:
        return {view.name: f"version {view.version}" for view in views}

    old, new = known(before.views), known(after.views)
    moved = [
        {"name": name, "before": old.get(name, "not served"), "after": new.get(name, "not served")}
        for name in dict.fromkeys((*old, *new))
        if old.get(name) != new.get(name)
    ]
    given_up = [view for view in before.coming if view not in after.coming]
    moved += [{"name": key(view), "before": "coming", "after": "given up and removed"} for view in given_up]
    services = {service.name: service for service in before.services}
    return moved + [
        {"name": f"service {each.name}", "before": services[each.name].model, "after": each.model}
        for each in after.services
        if each.name in services and services[each.name].features != each.features
    ]
