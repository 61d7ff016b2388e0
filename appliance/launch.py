"""Becomes the process that a JSON file describes; run by supervisord, as a script, with the standard library only.

The file (mode 600) keeps secrets of the environment out of supervisord's configuration and of every command line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path

MARK = "APPLIANCE_OF"
"""Environment variable of every process of an appliance and of its children: its ``etc`` folder."""

PROCESS = "APPLIANCE_PROCESS"
"""Environment variable with the name of the supervised process it belongs to."""


def marked(mark: str, process: str | None = None) -> list[int]:
    """Processes (of one supervised process, or all) of the appliance with that mark, without the caller's own."""
    wanted = [f"{MARK}={mark}".encode()] + ([f"{PROCESS}={process}".encode()] if process else [])
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            variables = (folder / "environ").read_bytes().split(b"\0")
            if all(variable in variables for variable in wanted):
                found.append(int(folder.name))
    return found


def kill_orphans(mark: str, process: str) -> None:
    """End what an earlier run of this process left behind; without this it would hold ports and files."""
    deadline = time.monotonic() + 10
    while (orphans := marked(mark, process)) and time.monotonic() < deadline:
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def main() -> None:
    """``launch.py FILE``: FILE has ``command``, ``environment`` and ``directory``."""
    wanted = json.loads(Path(sys.argv[1]).read_text())
    environment = wanted["environment"]
    kill_orphans(environment[MARK], environment[PROCESS])
    os.umask(0o077)
    os.chdir(wanted["directory"])
    os.execve(wanted["command"][0], wanted["command"], environment)


if __name__ == "__main__":
    main()
