"""Debezium's connectors: one folder each below ``plugins``, as Kafka Connect's ``plugin.path`` wants them."""

from __future__ import annotations

import subprocess
from pathlib import Path

from installer.laydown.base import Tools

NAME = "debezium"
LOCKS: tuple[str, ...] = ("maven/debezium.xml", "maven/debezium.sha256")
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS: tuple[str, ...] = ()


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target/plugins``; the archives themselves are not kept."""
    archives, plugins = target / "archives", target / "plugins"
    archives.mkdir()
    plugins.mkdir()
    tools.maven("debezium", archives)
    for archive in sorted(archives.iterdir()):
        # Debian's Python 3.11.2 has no extraction filter: tar, which drops owners when told to.
        subprocess.run(["tar", "-xzf", archive, "-C", plugins, "--no-same-owner"], check=True)
        archive.unlink()
    archives.rmdir()
