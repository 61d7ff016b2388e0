"""Kafka's broker, tools and Connect: their jars in ``lib``."""

from __future__ import annotations

from pathlib import Path

from installer.laydown.base import Tools

NAME = "kafka"
LOCKS: tuple[str, ...] = ("maven/kafka.xml", "maven/kafka.sha256")
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS: tuple[str, ...] = ()


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target/lib``."""
    lib = target / "lib"
    lib.mkdir()
    tools.maven("kafka", lib)
