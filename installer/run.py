"""Running other programs: output kept in a log, the end of it shown when they fail."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from installer.errors import InstallError

_TAIL_LINES = 25


def run(
    command: Sequence[str | Path],
    what: str,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    hint: str = "",
    code: str = "command.failed",
) -> str:
    """Run a program to its end and return what it wrote (both streams together).

    environment: added to the installer's own. Raises InstallError with the end of its output if it fails.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(environment or {})},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        raise InstallError("command.missing", f"{what}: {words[0]} is not there", hint=hint) from error
    if done.returncode:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-_TAIL_LINES:])
        raise InstallError(
            code,
            f"{what}: `{' '.join(words)}` ended with {done.returncode}:\n    {tail}",
            context={"command": words, "exit": done.returncode},
            hint=hint,
        )
    return done.stdout
