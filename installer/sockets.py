"""Who listens on a port, as the kernel tells it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from appliance.launch import MARK
from appliance.layout import Layout


@dataclass(frozen=True)
class Owner:
    """A process that listens."""

    pid: int
    command: str


def listeners() -> dict[int, int]:
    """Port → inode of the socket that listens on it."""
    found = {}
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            for line in table.read_text().splitlines()[1:]:
                row = line.split()
                if row[3] == "0A":
                    found[int(row[1].rsplit(":", 1)[1], 16)] = int(row[9])
    return found


def owner(inode: int) -> Owner | None:
    """The process that holds a socket, None if it cannot be seen."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(entry.readlink()) == f"socket:[{inode}]" for entry in (folder / "fd").iterdir()):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return Owner(int(folder.name), command[:80])
    return None


def ours(pid: int, layout: Layout) -> bool:
    """Whether a process is of the appliance with this layout.

    It works in one of its folders, or it or one that started it carries the appliance's mark. (Redis overwrites its own
    environment, so the mark alone is not enough.)
    """
    folders = (layout.data, layout.run)
    with contextlib.suppress(OSError):
        place = Path(f"/proc/{pid}/cwd").readlink()
        if any(place.is_relative_to(folder) for folder in folders):
            return True
    mark = f"{MARK}={layout.etc}".encode()
    while pid > 1:
        try:
            if mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return True
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            return False
    return False
