"""``appliance feast …``, and the verbs of ``appliance features`` (``stream_jobs.versions.commands``)."""

from __future__ import annotations

import argparse

from appliance import context as contexts
from appliance.ports import Port
from stream_jobs.feast_command import feast
from stream_jobs.versions import commands as versions


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    versions.register(subparsers)
    command = subparsers.add_parser(
        "feast", help="Feast's own command on the scenario's repository", add_help=False, prefix_chars="\0"
    )
    command.add_argument("arguments", nargs="*", metavar="…")
    command.set_defaults(run=_feast)


def _feast(arguments: argparse.Namespace) -> int:
    words = list(arguments.arguments)
    context = contexts.current()
    if words[:1] == ["ui"]:  # Feast's own default is every address of the machine, and its page has no login
        words[1:1] = ["--host", "127.0.0.1", "--port", str(context.port(Port.FEAST_UI))]
    return feast(context, words).returncode
