"""FLINK_HOME: the distribution that the wheel of the streaming environment carries, with the Kafka connector."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from installer.laydown.base import Tools

NAME = "flink"
LOCKS = ("maven/flink.xml", "maven/flink.sha256", "python/streaming.txt")
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS = ("streaming",)

_COPIED = ("bin", "opt", "lib")
"""No symbolic links: through those the scripts take the wheel's folder for FLINK_HOME and miss the connector."""


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target`` with bin/, opt/, lib/ (and the connector) and conf/ (logging only)."""
    wheel = _wheel(tools.environment("streaming"))
    for folder in _COPIED:
        shutil.copytree(wheel / folder, target / folder, copy_function=_link)
    for script in (target / "bin").iterdir():
        script.chmod(0o755)
    (target / "conf").mkdir()
    connector = target / "connector"
    connector.mkdir()
    tools.maven("flink", connector)
    for jar in connector.iterdir():
        jar.rename(target / "lib" / jar.name)
    connector.rmdir()


def _link(source: str, target: str) -> None:
    """A second name for the same file where the file system can, else a copy (the jars are 325 MB)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _wheel(environment: Path) -> Path:
    found = sorted(environment.glob("lib/python3.*/site-packages/pyflink"))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one pyflink below {environment}, found {[str(path) for path in found]}")
    return found[0]
