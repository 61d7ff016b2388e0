"""Whether this machine can carry the appliance: every check runs, and every one that fails is named."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from appliance.launch import marked
from appliance.layout import Layout
from appliance.ports import Port
from installer import sockets
from installer.errors import InstallError

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. hint: what to do when it is not as expected."""

    name: str
    good: bool
    expected: str
    got: str
    hint: str = ""


def failed(checks: Iterable[Check]) -> InstallError | None:
    """One error that names every check that failed, None if none did."""
    bad = [check for check in checks if not check.good]
    if not bad:
        return None
    lines = [f"{c.name}: expected {c.expected}, got {c.got}\n    hint: {c.hint}" for c in bad]
    return InstallError(
        "machine.unfit",
        f"this machine cannot carry the appliance yet; nothing was changed. {len(bad)} check(s) failed:\n  "
        + "\n  ".join(lines),
        context={"failed": [check.name for check in bad]},
        hint="correct what is named above, then run ./install again",
    )


def debian(release: Path = Path("/etc/os-release")) -> Check:
    text = release.read_text() if release.exists() else ""
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    name, version = fields.get("ID", "unknown").strip('"'), fields.get("VERSION_ID", "").strip('"')
    return Check("operating system", (name, version) == ("debian", "12"), "debian 12", f"{name} {version}".strip(),
                 "install on Debian 12 (bookworm)")  # fmt: skip


def architecture(machine: str | None = None) -> Check:
    got = machine or platform.machine()
    return Check("architecture", got == "x86_64", "x86_64", got, "several parts exist for 64-bit x86 only")


def root(user: int | None = None) -> Check:
    got = os.geteuid() if user is None else user
    return Check("user", got == 0, "root (0)", "root (0)" if got == 0 else str(got), "run ./install as root")


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def disk(
    needs_mib: dict[Path, int], free: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> list[Check]:
    """One check a file system. needs_mib: folder → MiB that will be written below it. free: free bytes at a folder."""
    systems: dict[int, tuple[Path, int, list[str]]] = {}
    for folder, mib in needs_mib.items():
        there = _existing(folder)
        first, total, folders = systems.get(there.stat().st_dev, (there, 0, []))
        systems[there.stat().st_dev] = (first, total + mib, [*folders, str(folder)])
    checks = []
    for first, total, folders in systems.values():
        got = free(first) // _MIB
        checks.append(
            Check(f"disk for {', '.join(folders)}", got >= total, f"{total:,} MiB free", f"{got:,} MiB free",
                  "free some space, or give other folders with --home and --cache")
        )  # fmt: skip
    return checks


def _meminfo(text: str) -> dict[str, int]:
    rows = (line.split() for line in text.splitlines())
    return {row[0].rstrip(":"): int(row[1]) // 1024 for row in rows if len(row) >= 2}


def memory(total_mib: int, available_mib: int, *, text: str | None = None, limit: str | None = None) -> list[Check]:
    """total_mib, available_mib: what is needed. text: of /proc/meminfo. limit: of the control group, bytes or `max`."""
    group = Path("/sys/fs/cgroup/memory.max")
    figures = _meminfo(Path("/proc/meminfo").read_text() if text is None else text)
    allowed = (group.read_text().strip() if group.exists() else "max") if limit is None else limit
    total = figures["MemTotal"] if allowed == "max" else min(figures["MemTotal"], int(allowed) // _MIB)
    available = min(figures["MemAvailable"], total)
    return [
        Check("memory", total >= total_mib, f"{total_mib:,} MiB in all", f"{total:,} MiB in all",
              "use a machine with 16 GiB"),
        Check("free memory", available >= available_mib, f"{available_mib:,} MiB available",
              f"{available:,} MiB available", "stop something that uses much memory"),
    ]  # fmt: skip


def ports(base: int, layout: Layout) -> list[Check]:
    """One check for each port that somebody else than the appliance with this layout has taken, or one good one."""
    listening = sockets.listeners()
    taken = []
    for port in Port:
        number = base + int(port)
        if number not in listening:
            continue
        owner = sockets.owner(listening[number])
        if owner and sockets.ours(owner.pid, layout):
            continue
        who = f"taken by process {owner.pid} ({owner.command})" if owner else "taken by a process that cannot be seen"
        taken.append(Check(f"port {number} ({port.name.lower()})", False, "free", who,
                           "stop that process, or give another --port-base"))  # fmt: skip
    return taken or [
        Check(f"ports {base} to {base + max(Port)}", True, "free or this appliance's own", "free, or ours")
    ]


def running(etc: Path) -> bool:
    """Whether processes of the appliance with this folder of settings run."""
    return bool(marked(str(etc)))


def loopback() -> Check:
    """Whether loopback is up: every part but the gateway listens there only."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", 0))
        except OSError as error:
            return Check("loopback", False, "127.0.0.1 can be bound", str(error), "bring up the interface lo")
    return Check("loopback", True, "127.0.0.1 can be bound", "it can")
