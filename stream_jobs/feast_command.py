"""Runs Feast's own command on the scenario's repository."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from appliance.parts.base import Context
from stream_jobs.errors import CompileError
from stream_jobs.feature_store import environment as registry_environment


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


def apply(context: Context) -> None:
    """Register the definitions with Feast. Raises CompileError with what Feast said."""
    said = feast(context, ["apply"], quiet=True)
    if said.returncode:
        raise CompileError(
            "compile.feast",
            "`feast apply` failed; what is computed and served stays as it was",
            context={"log": _without(said.stdout + said.stderr, context.secrets.get("postgres.feast"))},
            hint="appliance feast plan",
        )


def _without(text: str, password: str) -> list[str]:
    """The last 30 lines, the registry's password struck out: a driver's error may quote its address."""
    return text.replace(password, "***").splitlines()[-30:]
