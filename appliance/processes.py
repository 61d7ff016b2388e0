"""What the kernel says of processes: children and memory."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

_PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)
_RSS = re.compile(rb"^Rss:\s+(\d+) kB", re.MULTILINE)


def _parents() -> dict[int, int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (folder / "stat").read_text()
                parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def lives(pid: int) -> bool:
    """Whether the process exists and has not ended (one that has ended waits for its parent to ask why)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def tree(pid: int, parents: dict[int, int] | None = None) -> list[int]:
    """The process and all below it, itself first; empty if it does not exist."""
    parents = _parents() if parents is None else parents
    if pid not in parents:
        return []
    found = [pid]
    for candidate in found:
        found += [child for child, parent in parents.items() if parent == candidate]
    return found


def memory_mib(pid: int) -> tuple[float, float]:
    """(RSS, PSS) of a process and all below it, MiB; PSS counts shared pages once. Needs the same user."""
    rss = pss = 0
    for member in tree(pid):
        with contextlib.suppress(OSError):
            rollup = Path(f"/proc/{member}/smaps_rollup").read_bytes()
            if (found := _RSS.search(rollup)) and (share := _PSS.search(rollup)):
                rss, pss = rss + int(found[1]), pss + int(share[1])
    return round(rss / 1024, 1), round(pss / 1024, 1)
