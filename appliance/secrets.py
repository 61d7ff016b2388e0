"""Secrets: generated on first use, one file each, mode 600, never printed."""

from __future__ import annotations

import os
import re
import secrets as _random
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import SettingError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True)
class Secrets:
    """The secrets in one folder (mode 700)."""

    folder: Path

    def path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise SettingError("secret.name", f"{name!r} is no name for a secret: expected {_NAME.pattern}")
        return self.folder / name

    def get(self, name: str) -> str:
        """The secret's value, generated (32 characters, URL-safe) if it does not exist yet."""
        path = self.path(name)
        if not path.exists():
            self.put(name, _random.token_urlsafe(24))
        return path.read_text()

    def put(self, name: str, value: str) -> Path:
        """Store a value, replacing one that is there, in one step. Returns its file.

        Written by root, it belongs to whom the folder belongs to.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path(name)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(value)
            if os.geteuid() == 0:
                folder = self.folder.stat()
                os.fchown(file.fileno(), folder.st_uid, folder.st_gid)
        temporary.rename(path)
        return path
