"""The home of one appliance: user, folders, record of what is installed, and the `appliance` command."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.layout import Layout
from installer.machine import Check
from installer.options import SYSTEM_USER, Options
from installer.run import run

_SYSTEM_COMMAND = Path("/usr/local/bin/appliance")
TENANT = "main"


def user_id() -> int | None:
    """Id of the system user, None if there is no such user yet."""
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_uid
    except KeyError:
        return None


def make_user() -> None:
    """The system user that every process runs as."""
    if user_id() is None:
        run(["useradd", "--system", "--user-group", "--home-dir", "/var/lib/appliance", "--no-create-home",
             "--shell", "/usr/sbin/nologin", SYSTEM_USER], f"making the system user {SYSTEM_USER}")  # fmt: skip


def reachable(folder: Path) -> Check:
    """Whether another user can reach a folder, through those of its parents that are there already."""
    closed = [
        str(parent) for parent in (folder, *folder.parents) if parent.exists() and not parent.stat().st_mode & 0o001
    ]
    return Check(
        f"way to {folder}",
        not closed,
        "every folder on the way can be passed by other users",
        f"closed: {', '.join(closed)}" if closed else "open",
        "choose another folder, such as /srv/appliance",
    )


def _own(layout: Layout) -> tuple[Path, ...]:
    return (layout.etc, layout.data, layout.logs, layout.run)


def folders_made(layout: Layout) -> bool:
    """Whether user and folders are there as they must be."""
    owner = user_id()
    roots = all(folder.is_dir() for folder in (layout.code.parent, layout.bin))
    return owner is not None and roots and all(f.is_dir() and f.stat().st_uid == owner for f in _own(layout))


def make_folders(layout: Layout) -> None:
    """The folders: code and command belong to root, everything else to the system user and to nobody else's eyes."""
    for folder in (layout.code.parent, layout.bin):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    for folder in _own(layout):
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        folder.chmod(0o750)
        shutil.chown(folder, SYSTEM_USER, SYSTEM_USER)


@dataclass(frozen=True)
class Record:
    """The installation record, as ``appliance/installation.py`` reads it."""

    version: str
    options: Options
    envs: dict[str, Path]
    parts: dict[str, Path]

    def text(self) -> str:
        return json.dumps(
            {
                "version": self.version, "port_base": self.options.port_base, "user": SYSTEM_USER, "tenant": TENANT,
                "scenario": self.options.scenario, "cache": str(self.options.cache),
                "envs": {name: str(path) for name, path in self.envs.items()},
                "parts": {name: str(path) for name, path in self.parts.items()},
            },
            indent=1,
        ) + "\n"  # fmt: skip


_COMMAND = """#!/bin/sh
# Written by the installer.
{home}
export PYTHONPATH={code} PYTHONDONTWRITEBYTECODE=1
[ "$(id -u)" = 0 ] || exec {python} -P -s -m appliance "$@"
export HOME={data} USER={user} LOGNAME={user}
set -- setpriv --reuid {user} --regid {user} --init-groups {python} -P -s -m appliance "$@"
grep -q '^[^ ]* / ' /proc/self/mounts && exec "$@"
# In a chroot "/" is not a mount point, and Java cannot tell which file system a folder is on. So what is started from
# here gets a mount namespace in which "/" is one: itself, mounted over /proc (private first, so it stays there).
exec unshare --mount --propagation unchanged sh -c '
  mount --make-rprivate /proc && mount --rbind / /proc &&
    exec chroot /proc sh -c "cd \\"\\$0\\"; exec \\"\\$@\\"" "$PWD" "$@"
' sh "$@"
"""


def command_text(layout: Layout, home: Path | None, python: Path) -> str:
    """The `appliance` command: as root it becomes the system user; it finds our code and nothing else of Python's."""
    return _COMMAND.format(
        home=f"export APPLIANCE_HOME={shlex.quote(str(home))}" if home else "unset APPLIANCE_HOME",
        code=shlex.quote(str(layout.code)),
        data=shlex.quote(str(layout.data)),
        python=shlex.quote(str(python)),
        user=SYSTEM_USER,
    )


def _write(path: Path, text: str, mode: int) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def recorded(record: Record) -> bool:
    """Whether the record and the command are there as they must be."""
    layout = record.options.layout
    command = command_text(layout, record.options.home, record.envs["serving"] / "bin" / "python")
    linked = record.options.home is not None or _SYSTEM_COMMAND.is_symlink()
    return _same(layout.installation_file, record.text()) and _same(record.options.command, command) and linked


def write_record(record: Record) -> None:
    """Write both, each in one step; without ``--home`` also /usr/local/bin/appliance."""
    layout = record.options.layout
    command = command_text(layout, record.options.home, record.envs["serving"] / "bin" / "python")
    _write(record.options.command, command, 0o755)
    _write(layout.installation_file, record.text(), 0o644)
    if record.options.home is None:
        link = _SYSTEM_COMMAND.with_name(".appliance.link")
        link.unlink(missing_ok=True)
        link.symlink_to(record.options.command)
        link.rename(_SYSTEM_COMMAND)
