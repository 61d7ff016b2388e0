"""``appliance features plan | apply`` and ``appliance feast …``."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from appliance import context as contexts
from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs import plan as plans
from stream_jobs.errors import CompileError
from stream_jobs.feature_store import environment as registry_environment

if TYPE_CHECKING:
    from stream_jobs.compiler.definition import Versions


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    features = subparsers.add_parser("features", help="what is computed: compare, and put into effect")
    verbs = features.add_subparsers(dest="features_verb", metavar="VERB", required=True)
    for name, run, told in (
        ("plan", _plan, "say what the definitions would change; changes nothing"),
        ("apply", _apply, "register the definitions with Feast and put the compiled plan into effect"),
    ):
        verb = verbs.add_parser(name, help=told)
        verb.add_argument("--json", action="store_true", help="answer as JSON")
        verb.set_defaults(run=run)
    feast = subparsers.add_parser(
        "feast", help="Feast's own command on the scenario's repository", add_help=False, prefix_chars="\0"
    )
    feast.add_argument("arguments", nargs="*", metavar="…")
    feast.set_defaults(run=_feast)


def feast(context: Context, arguments: Sequence[str], *, quiet: bool = False) -> subprocess.CompletedProcess[str]:
    """Run Feast's command with the registry's password in its environment. quiet: keep what it says."""
    repository = context.layout.code / "feature_repo"
    environment = os.environ | {
        "PYTHONPATH": f"{context.layout.code}{os.pathsep}{repository}",
        "PYTHONWARNINGS": "ignore",
        "FEAST_USAGE": "False",
        **registry_environment(context),
    }
    command = [str(context.installation.env("serving") / "bin" / "feast"), "-c", str(repository), *arguments]
    return subprocess.run(command, env=environment, capture_output=quiet, text=True, check=False)


def _without(text: str, password: str) -> list[str]:
    """The last 30 lines, the registry's password struck out: a driver's error may quote its address."""
    return text.replace(password, "***").splitlines()[-30:]


def _compiled(context: Context) -> tuple[plans.Plan, Versions]:
    """Feast takes seconds to import: only the verbs that need it do."""
    from stream_jobs.compiler import compile as compiler
    from stream_jobs.compiler.definition import Versions

    versions = Versions(compiler.versions_file(context))
    return compiler.compiled(context, versions), versions


def _changes(context: Context, new: plans.Plan) -> list[dict[str, str]]:
    """One record a difference: ``{"what", "name", "change"}``."""
    file = context.layout.plan_file
    old = plans.read(file) if file.exists() else plans.Plan(new.scenario, (), (), ())
    found = []
    for what, before, after in (
        ("table", {table.topic: table for table in old.tables}, {table.topic: table for table in new.tables}),
        ("view", {f"{v.name}.v{v.version}": v for v in old.views}, {f"{v.name}.v{v.version}": v for v in new.views}),
        ("service", {each.name: each for each in old.services}, {each.name: each for each in new.services}),
    ):
        for name in sorted(before.keys() | after.keys()):
            change = "new" if name not in before else "gone" if name not in after else "changed"
            if before.get(name) != after.get(name):
                found.append({"what": what, "name": name, "change": change})
    return found


def _say(changes: Sequence[dict[str, str]], as_json: bool, done: str) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"changes": changes, "done": done}) + "\n")
        return
    for each in changes:
        sys.stdout.write(f"{each['what']:<8} {each['name']:<40} {each['change']}\n")
    sys.stdout.write(f"{len(changes)} differences; {done}\n")


def _plan(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    new, _ = _compiled(context)
    _say(_changes(context, new), arguments.json, "nothing was changed; to change it: appliance features apply")
    return 0


def _apply(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    new, versions = _compiled(context)
    changes = _changes(context, new)
    said = feast(context, ["apply"], quiet=True)
    if said.returncode:
        raise CompileError(
            "compile.feast",
            "`feast apply` failed",
            context={"log": _without(said.stdout + said.stderr, context.secrets.get("postgres.feast"))},
            hint="appliance feast plan",
        )
    versions.save()
    plans.write(new, context.layout.plan_file)
    _say(changes, arguments.json, "in effect")
    return 0


def _feast(arguments: argparse.Namespace) -> int:
    words = list(arguments.arguments)
    context = contexts.current()
    if words[:1] == ["ui"]:  # Feast's own default is every address of the machine, and its page has no login
        words[1:1] = ["--host", "127.0.0.1", "--port", str(context.port(Port.FEAST_UI))]
    return feast(context, words).returncode
