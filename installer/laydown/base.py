"""What a lay-down is given, and what it must say of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Tools(Protocol):
    """Fetches third-party files, each checked against the lock, and names the folders of what is already there."""

    def maven(self, lock: str, target: Path) -> None:
        """Copy the artifacts of ``installer/locks/maven/<lock>.xml`` (a pom) flat into ``target``.

        Every file is checked against ``installer/locks/maven/<lock>.sha256`` (``sha256sum`` format); a file that is
        missing, extra or different is refused by name.
        """

    def pypi(self, lock: str, target: Path) -> None:
        """Unpack the wheels of ``installer/locks/python/<lock>.txt`` (hash-locked, no dependencies) into ``target``."""

    def environment(self, name: str) -> Path:
        """Folder of a Python environment (``serving``, ``streaming``, ``training``, ``triton``)."""

    def part(self, name: str) -> Path:
        """Folder of a part that is laid down already (one of this lay-down's ``AFTER``)."""


class LayDown(Protocol):
    """A module of this package.

    NAME: of the part. LOCKS: file names below ``installer/locks``, RESOURCES: file names beside the module, whose
    content, with the module's own, addresses the result in the cache. AFTER: parts, ENVIRONMENTS: environments, it
    needs first.
    """

    NAME: str
    LOCKS: tuple[str, ...]
    RESOURCES: tuple[str, ...]
    AFTER: tuple[str, ...]
    ENVIRONMENTS: tuple[str, ...]

    def lay_down(self, tools: Tools, target: Path) -> None:
        """Fill the empty folder ``target``. It is moved to its place in one step when this returns."""
