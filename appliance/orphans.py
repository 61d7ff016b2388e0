"""Processes of this appliance that no supervisord looks after, and their end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from appliance import launch, registry
from appliance.errors import PartError
from appliance.parts.base import Context
from appliance.processes import lives

_GENTLE_SECONDS = 15
_FORCED_SECONDS = 10


def find(context: Context) -> set[int]:
    """Processes that carry the appliance's mark, or that work in its data and have no terminal.

    PostgreSQL's children overwrite their environment, and with it the mark; people's shells have a terminal.
    """
    return set(launch.marked(str(context.layout.etc))) | _working_in(context.layout.data)


def _working_in(folder: Path) -> set[int]:
    found = set()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            terminal = (process / "stat").read_text().rpartition(")")[2].split()[4]
            ours = process.stat().st_uid == os.geteuid()
            if ours and terminal == "0" and (process / "cwd").readlink().is_relative_to(folder):
                found.add(int(process.name))
    return found


def end(context: Context, say: Callable[[str, str], None]) -> None:
    """End them as ``down`` would: what needs others first, each with its own signal, forced after a while.

    Raises PartError if one stays.
    """
    leaders: dict[str, list[int]] = {}
    for pid in sorted(find(context)):
        leaders.setdefault(_name(pid), []).append(pid)
    known = [name for name in leaders if name in registry.part_names()]
    ordered = [name for name in reversed(registry.with_needs(known)) if name in leaders]
    for name in [*ordered, *(leaders.keys() - set(ordered))]:
        say(name, f"ending {leaders[name]}, which no supervisord looks after")
        if not _gone(leaders[name], _stop_signal(context, name), _GENTLE_SECONDS):
            _gone(leaders[name], signal.SIGKILL, _FORCED_SECONDS)
    if left := sorted(find(context)):
        raise PartError("lifecycle.left", f"processes {left} do not end", hint=f"kill -9 {' '.join(map(str, left))}")


def _gone(pids: list[int], sent: signal.Signals, seconds: float) -> bool:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sent)
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids if lives(pid)]:
        if time.monotonic() > deadline:
            return False
        pids = left
        time.sleep(0.05)
    return True


def _name(pid: int) -> str:
    """Name of the supervised process it belongs to, ``orphan`` if it carries no mark."""
    with contextlib.suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(f"{launch.PROCESS}=".encode()):
                return variable.partition(b"=")[2].decode()
    return "orphan"


def _stop_signal(context: Context, name: str) -> signal.Signals:
    declared = context.layout.run / "programs" / f"{name}.json"
    if not declared.exists():
        return signal.SIGTERM
    return signal.Signals[json.loads(declared.read_text())["stop_signal"]]
