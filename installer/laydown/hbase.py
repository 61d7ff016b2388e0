"""HBase: its jars in ``lib``. No binary archive of it is served, so there is nothing else to lay down."""

from __future__ import annotations

from pathlib import Path

from installer.laydown.base import Tools

NAME = "hbase"
LOCKS: tuple[str, ...] = ("maven/hbase.xml", "maven/hbase.sha256")
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS: tuple[str, ...] = ()


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target/lib`` with the jars of HBase, Hadoop, ZooKeeper and HBase's Thrift server."""
    lib = target / "lib"
    lib.mkdir()
    tools.maven("hbase", lib)
