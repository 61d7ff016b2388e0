"""The ``appliance`` command. Rooms add verbs through the entry point group ``appliance.commands``."""

from __future__ import annotations

import argparse
import json
import os
import pwd
import sys
from collections.abc import Sequence
from importlib.metadata import version

from appliance import registry
from appliance.errors import ApplianceError, UsageError
from appliance.installation import read
from appliance.layout import Layout


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    """The command line. Modules are loaded until one knows the verb ``wanted``: Feast alone takes seconds to import."""
    parser = argparse.ArgumentParser(prog="appliance", description="The feature appliance on this machine.")
    parser.add_argument("--version", action="version", version=version("feature-appliance"))
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, load in sorted(registry.commands(), key=lambda command: command[0] not in (wanted, "run", "config")):
        try:
            load()(subparsers)
        except ApplianceError as error:
            sys.stderr.write(f"appliance: the {name} commands are missing: {error.message}\n")
        if wanted in subparsers.choices:
            break
    return parser


_FEASTS_METRICS = ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR")
"""Feast puts a folder of its process into its environment; a process that it starts must not take it for its own."""


def _become_user() -> None:
    """As root, go on as the appliance's own user, so that no file of its ever belongs to root."""
    if os.geteuid() != 0:
        return
    name = read(Layout.current()).user
    if name == "root":
        return
    user = pwd.getpwnam(name)
    os.initgroups(name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.environ |= {"HOME": user.pw_dir, "USER": name, "LOGNAME": name}


def _tell(error: ApplianceError, as_json: bool) -> None:
    if as_json:
        body = {"code": error.code, "message": error.message, "context": error.context, "hint": error.hint}
        sys.stdout.write(json.dumps({"error": body}, default=str) + "\n")
        return
    sys.stderr.write(f"appliance: {error.message}\n")
    sys.stderr.writelines(f"    {line}\n" for line in error.context.get("log", []))
    if error.hint:
        sys.stderr.write(f"  try: {error.hint}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed (the error says what, where and what to try), 2 the command line is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    for name in _FEASTS_METRICS:
        os.environ.pop(name, None)
    try:
        _become_user()
        verb = next((word for word in words if not word.startswith("-")), None)
        parsed = _parser(verb).parse_args(words)
        return int(parsed.run(parsed))
    except UsageError as error:
        _tell(error, as_json)
        return 2
    except ApplianceError as error:
        _tell(error, as_json)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("appliance: interrupted; what was started goes on, and the same command takes it up again\n")
        return 130


if __name__ == "__main__":
    sys.exit(main())
