"""``appliance app create | list | limit | revoke`` and ``appliance console password``."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from appliance import context as contexts
from appliance.errors import UsageError
from appliance.ports import Port
from gateway import apps, database, managers
from gateway.console import users
from stream_jobs import plan as plans


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    app = subparsers.add_parser("app", help="apps that may call the API").add_subparsers(
        dest="act", metavar="ACT", required=True
    )
    create = app.add_parser("create", help="make an app; prints its id and, only this once, its token")
    create.add_argument("name", metavar="NAME")
    create.add_argument("--services", nargs="+", metavar="SERVICE", help="those it may use (all)")
    create.add_argument("--expires-days", type=int, default=365, metavar="N", help="how long its token is valid (365)")
    create.add_argument(
        "--token-file", type=Path, metavar="FILE", help="write the token there (mode 600), not to stdout"
    )
    create.add_argument("--manage-models", action="store_true", help="it may change which models serve")
    _add_limits(create, "as the settings say")
    create.set_defaults(run=_create)
    listed = app.add_parser("list", help="all apps")
    listed.set_defaults(run=_list)
    limit = app.add_parser("limit", help="what an app may ask for, within 5 s")
    limit.add_argument("id", metavar="ID")
    _add_limits(limit, "unchanged")
    limit.set_defaults(run=_limit)
    revoke = app.add_parser("revoke", help="end an app's access, within 5 s")
    revoke.add_argument("id", metavar="ID")
    revoke.set_defaults(run=_revoke)

    console = subparsers.add_parser("console", help="the console's user").add_subparsers(
        dest="act", metavar="ACT", required=True
    )
    password = console.add_parser("password", help="show how to log in to the console")
    password.add_argument("--reset", action="store_true", help="make a new password first")
    password.set_defaults(run=_password)
    for parser in (create, listed, limit, revoke, password):
        parser.add_argument("--json", action="store_true", help="answer as JSON")


def _add_limits(parser: argparse.ArgumentParser, default: str) -> None:
    for name in apps.LIMITS:
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=int, metavar="N", help=f"0 for no limit ({default})")


def _limits(arguments: argparse.Namespace, before: apps.AppLimits) -> apps.AppLimits:
    given = {name: getattr(arguments, name) for name in apps.LIMITS}
    return dataclasses.replace(before, **{name: value for name, value in given.items() if value is not None})


def _answer(arguments: argparse.Namespace, facts: object, text: str) -> int:
    sys.stdout.write((json.dumps(facts) if arguments.json else text) + "\n")
    return 0


def _create(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    database.create_tables(context)
    if arguments.services:
        known = [service.name for service in plans.read(context.layout.plan_file).services]
        if unknown := [name for name in arguments.services if name not in known]:
            raise UsageError("app.services", f"there is no service {unknown}; there are {known}")
    limits = _limits(arguments, apps.AppLimits())
    app, token = apps.create(context, arguments.name, arguments.services, arguments.expires_days, limits)
    if arguments.manage_models:
        managers.add(context, app.id)
    facts = {"id": app.id, "name": app.name, "services": app.services, "expires_at": app.expires_at.isoformat()}
    if arguments.token_file:
        _write_token(arguments.token_file, token)
        facts["token_file"] = str(arguments.token_file)
        where = f"token in {arguments.token_file}"
    else:
        facts["token"] = token
        where = f"token {token}\nThe token cannot be shown again."
    return _answer(arguments, facts, f"app   {app.id}\n{where}")


def _write_token(path: Path, token: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(token)
    except OSError as error:
        raise UsageError("app.token_file", f"{path} cannot be written: {error}") from error


def _list(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    database.create_tables(context)
    every = apps.every(context)
    facts = [
        {
            "id": app.id,
            "name": app.name,
            "services": app.services,
            "created_at": app.created_at.isoformat(),
            "expires_at": app.expires_at.isoformat(),
            "revoked_at": app.revoked_at.isoformat() if app.revoked_at else None,
            "limits": dataclasses.asdict(app.limits),
        }
        for app in every
    ]
    lines = [f"{'id':<18} {'name':<20} {'services':<20} {'valid until':<12} state"]
    for app in every:
        services = ",".join(app.services) if app.services is not None else "all"
        state = "revoked" if app.revoked_at else "valid"
        lines.append(f"{app.id:<18} {app.name:<20} {services:<20} {app.expires_at:%Y-%m-%d}   {state}")
    return _answer(arguments, facts, "\n".join(lines))


def _limit(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    database.create_tables(context)
    app = apps.find(context, arguments.id)
    limits = _limits(arguments, app.limits if app else apps.AppLimits())
    apps.limit(context, arguments.id, limits)
    facts = {"id": arguments.id, "limits": dataclasses.asdict(limits)}
    told = ", ".join(f"{name} {'as set' if value is None else value}" for name, value in facts["limits"].items())
    return _answer(arguments, facts, f"{arguments.id}: {told}")


def _revoke(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    database.create_tables(context)
    apps.revoke(context, arguments.id)
    return _answer(arguments, {"revoked": arguments.id}, f"{arguments.id} is revoked")


def _password(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    database.create_tables(context)
    if arguments.reset:
        users.reset(context)
    else:
        users.ensure(context)
    address = f"http://{context.settings.listen.address}:{context.port(Port.GATEWAY)}/"
    password = context.secrets.get(users.SECRET)
    facts = {"address": address, "user": users.ADMIN, "password": password}
    return _answer(arguments, facts, f"{address}\nuser     {users.ADMIN}\npassword {password}")
