"""The cache: environments and parts, addressed by content, built aside and moved into place in one step."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_HASH_DIGITS = 12


def address(pieces: Iterable[bytes]) -> str:
    """The first 12 hexadecimal digits of SHA-256 over the pieces, each with its length before it."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:_HASH_DIGITS]


@dataclass(frozen=True)
class Store:
    """A folder that many homes share read-only. Only what is whole has its final name."""

    root: Path

    @property
    def maven(self) -> Path:
        return self.root / "maven"

    def place(self, kind: str, name: str, digest: str) -> Path:
        """Where something of this content is, or will be."""
        return self.root / kind / f"{name}-{digest}"

    def build(self, kind: str, name: str, digest: str, fill: Callable[[Path], None]) -> Path:
        """The folder with this content, filled by ``fill`` if it is not there yet.

        ``fill`` is given an empty folder beside it. What an interrupted build left is removed first.
        """
        place = self.place(kind, name, digest)
        if place.is_dir():
            return place
        aside = place.with_name(f".{place.name}.building")
        if aside.exists():
            shutil.rmtree(aside)
        aside.mkdir(parents=True, mode=0o755)
        aside.chmod(0o755)
        fill(aside)
        aside.rename(place)
        return place

    def link(self, kind: str, name: str, place: Path) -> None:
        """Point ``<kind>/<name>`` at a folder of this cache, in one step; for people and development only."""
        new = self.root / kind / f".{name}.link"
        new.unlink(missing_ok=True)
        new.symlink_to(place.name)
        new.rename(self.root / kind / name)

    @contextmanager
    def lock(self, say: Callable[[str], None] = lambda _: None) -> Iterator[None]:
        """Only one installer at a time changes the cache; a second one waits and says so."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o755)
        handle = os.open(self.root / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"another installer is using {self.root}; waiting for it")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
