"""``appliance model challenge | drop | freeze | unfreeze | offline | online | learn | standing | acts``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

import msgspec

from appliance import audit
from appliance import context as contexts
from models import standing as standings
from models.errors import RegistryError
from models.registry import Registry
from models.standing import ROLES
from models.switching import Actor, Switchboard
from stream_jobs import plan as plans

_ACTS_SHOWN = 20


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to those of ``appliance model``."""
    challenge = _verb(verbs, "challenge", "run a version in shadow on live traffic", _challenge)
    challenge.add_argument("version", type=int, metavar="VERSION")
    drop = _verb(verbs, "drop", "take the version in shadow out of it", _drop)
    drop.add_argument("role", choices=ROLES, nargs="?", default=ROLES[0])
    _verb(verbs, "freeze", "let nothing but a person change the model", _freeze)
    _verb(verbs, "unfreeze", "let the learning loop decide again", _unfreeze)
    _verb(verbs, "offline", "take the model out of Triton: requests are refused, captured rows wait", _offline)
    _verb(verbs, "online", "serve the champion again", _online)
    _verb(verbs, "learn", "one round of the learning loop, now", _learn, acts=False)
    _verb(verbs, "standing", "champion, versions in shadow, frozen or off line", _standing, acts=False)
    _verb(verbs, "acts", "what was done to the model, by whom and why", _acts, acts=False)


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    words: str,
    run: Callable[[argparse.Namespace], int],
    *,
    acts: bool = True,
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=words)
    parser.add_argument("model", metavar="MODEL")
    if acts:
        parser.add_argument("--why", default="", metavar="TEXT", help="reason, for the record of acts")
    parser.add_argument("--json", action="store_true", help="answer as JSON")
    parser.set_defaults(run=run)
    return parser


def _board(arguments: argparse.Namespace) -> tuple[Switchboard, Actor]:
    context = contexts.current()
    return Switchboard(context), Actor.by_command(context, arguments.why)


def _challenge(arguments: argparse.Namespace) -> int:
    """Labels known from now on count: those known before may have been learned from."""
    board, actor = _board(arguments)
    board.challenge(arguments.model, arguments.version, actor.now_us, actor)
    return _standing(arguments)


def _drop(arguments: argparse.Namespace) -> int:
    board, actor = _board(arguments)
    board.drop(arguments.model, arguments.role, actor)
    return _standing(arguments)


def _freeze(arguments: argparse.Namespace) -> int:
    board, actor = _board(arguments)
    board.freeze(arguments.model, True, actor)
    return _standing(arguments)


def _unfreeze(arguments: argparse.Namespace) -> int:
    board, actor = _board(arguments)
    board.freeze(arguments.model, False, actor)
    return _standing(arguments)


def _offline(arguments: argparse.Namespace) -> int:
    board, actor = _board(arguments)
    board.offline(arguments.model, actor)
    return _standing(arguments)


def _online(arguments: argparse.Namespace) -> int:
    board, actor = _board(arguments)
    board.online(arguments.model, actor)
    return _standing(arguments)


def _learn(arguments: argparse.Namespace) -> int:
    from models.learning import live  # DuckDB and the lake, which the other verbs do without

    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    services = [service for service in plan.services if service.model == arguments.model]
    if not services:
        raise RegistryError(
            "model.no_service", f"no service is scored by {arguments.model!r}", hint="appliance model list"
        )
    done = [each for service in services for each in live.run(context, plan, service)]
    if arguments.json:
        _print(msgspec.to_builtins(done))
    else:
        sys.stdout.writelines(f"{each.act:<18} {each.why}\n" for each in done)
        if not done:
            sys.stdout.write("nothing to decide and not enough new labels for a candidate\n")
    return 0


def _standing(arguments: argparse.Namespace) -> int:
    registry = Registry.of(contexts.current())
    champion = registry.champion(arguments.model)
    found = standings.read(registry, arguments.model)
    if arguments.json:
        _print({"champion": champion.version if champion else None, **msgspec.to_builtins(found)})
        return 0
    lines = {"champion": f"version {champion.version}" if champion else "none"}
    for role in ROLES:
        shadow = found.of(role)
        lines[role] = f"version {shadow.version} in shadow" if shadow else "none"
    lines["state"] = ", ".join(
        ("off line" if found.offline else "on line", "frozen" if found.frozen else "decides by itself")
    )
    sys.stdout.writelines(f"{name:<12} {value}\n" for name, value in lines.items())
    return 0


def _acts(arguments: argparse.Namespace) -> int:
    found = audit.of_subject(contexts.current(), arguments.model, _ACTS_SHOWN)
    if arguments.json:
        _print(found)
        return 0
    for one in found:
        version = f" version {one.details['version']}" if "version" in one.details else ""
        sys.stdout.write(
            f"{one.at:%Y-%m-%d %H:%M:%S}  {one.who:<14} {one.act.removeprefix('model.')}{version}  "
            f"{one.details.get('why', '')}\n"
        )
    return 0


def _print(value: object) -> None:
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n")
