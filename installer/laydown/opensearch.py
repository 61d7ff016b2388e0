"""OpenSearch: the official layout, its modules from their official jars, and the security plugin.

The archive that is served has two modules only. Each other module is a folder with its jars and a descriptor.
``analysis-common`` is left out: its Thai analyzer fails at every new index on a Java runtime without Thai locale data,
which is what ``jdk25`` is. The standard analyzer is in the server itself.
"""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path

from installer.laydown.base import Tools

NAME = "opensearch"
LOCKS: tuple[str, ...] = ("maven/opensearch.xml", "maven/opensearch.sha256")
RESOURCES: tuple[str, ...] = ()
AFTER: tuple[str, ...] = ()
ENVIRONMENTS: tuple[str, ...] = ()

VERSION = "3.4.0"
_ASM = tuple(f"asm{part}-9.7" for part in ("", "-analysis", "-commons", "-tree", "-util"))
_HTTP = ("httpclient5-5.4.4", "httpcore5-5.3.4", "httpcore5-h2-5.3.4", "httpcore5-reactive-5.3.4")
_SECURITY_EXTENDS = "workload-management;optional=true,rule-framework"


@dataclass(frozen=True)
class _Module:
    """name: folder. plugin: class, below ``org.opensearch``. jars: file names without ``.jar``."""

    name: str
    plugin: str
    jars: tuple[str, ...]
    extends: str = ""


_MODULES = (
    _Module(
        "lang-painless", "painless.PainlessModulePlugin",
        (f"lang-painless-{VERSION}", f"opensearch-scripting-painless-spi-{VERSION}", "antlr4-runtime-4.13.1", *_ASM),
    ),
    _Module(
        "ingest-common", "ingest.common.IngestCommonModulePlugin",
        (f"ingest-common-{VERSION}", f"opensearch-grok-{VERSION}", f"opensearch-dissect-{VERSION}",
         "joni-2.2.6", "jcodings-1.0.63"), "lang-painless",
    ),
    _Module(
        "aggs-matrix-stats", "search.aggregations.matrix.MatrixAggregationModulePlugin",
        (f"aggs-matrix-stats-client-{VERSION}",),
    ),
    _Module("geo", "geo.GeoModulePlugin", (f"geo-{VERSION}",)),
    _Module("ingest-user-agent", "ingest.useragent.IngestUserAgentModulePlugin", (f"ingest-user-agent-{VERSION}",)),
    _Module(
        "lang-expression", "script.expression.ExpressionModulePlugin",
        (f"lang-expression-{VERSION}", "lucene-expressions-10.3.2", "antlr4-runtime-4.13.1", "asm-9.7",
         "asm-commons-9.7", "asm-tree-9.7"),
    ),
    _Module(
        "lang-mustache", "script.mustache.MustacheModulePlugin",
        (f"lang-mustache-client-{VERSION}", "compiler-0.9.14"),
    ),
    _Module("mapper-extras", "index.mapper.MapperExtrasModulePlugin", (f"mapper-extras-client-{VERSION}",)),
    _Module("parent-join", "join.ParentJoinModulePlugin", (f"parent-join-client-{VERSION}",)),
    _Module("percolator", "percolator.PercolatorModulePlugin", (f"percolator-client-{VERSION}",)),
    _Module("rank-eval", "index.rankeval.RankEvalModulePlugin", (f"rank-eval-client-{VERSION}",)),
    _Module(
        "reindex", "index.reindex.ReindexModulePlugin",
        (f"reindex-client-{VERSION}", f"opensearch-rest-client-{VERSION}", f"opensearch-ssl-config-{VERSION}", *_HTTP,
         "commons-codec-1.18.0", "commons-logging-1.3.5", "slf4j-api-2.0.17"),
    ),
)  # fmt: skip


def descriptor(module: _Module) -> str:
    """``plugin-descriptor.properties`` of a module."""
    return (
        f"description={module.name} module\nversion={VERSION}\nname={module.name}\n"
        f"classname=org.opensearch.{module.plugin}\njava.version=21\nopensearch.version={VERSION}\n"
        f"extended.plugins={module.extends}\nhas.native.controller=false\n"
    )


def without_rule_framework(text: str) -> str:
    """The security plugin's descriptor with its need of ``rule-framework``, which is not served, made optional.

    Raises ValueError when the descriptor is not the one this was proven with.
    """
    line = f"extended.plugins={_SECURITY_EXTENDS}\n"
    if line not in text:
        raise ValueError(f"opensearch-security's descriptor: expected {line!r} in it, got {text!r}")
    return text.replace(line, line.rstrip() + ";optional=true\n")


def lay_down(tools: Tools, target: Path) -> None:
    """Fill ``target`` with an OpenSearch home that is only read when it runs."""
    jars = target / "artifacts"
    jars.mkdir()
    tools.maven("opensearch", jars)
    with zipfile.ZipFile(jars / f"opensearch-{VERSION}.zip") as archive:
        archive.extractall(target)
    unpacked = target / f"opensearch-{VERSION}"
    for path in unpacked.iterdir():
        path.rename(target / path.name)
    unpacked.rmdir()
    for program in (target / "bin").iterdir():
        program.chmod(0o755)
    for module in _MODULES:
        folder = target / "modules" / module.name
        folder.mkdir()
        for jar in module.jars:
            shutil.copy2(jars / f"{jar}.jar", folder)
        (folder / "plugin-descriptor.properties").write_text(descriptor(module))
    _security(jars, target / "plugins" / "opensearch-security")
    shutil.rmtree(jars)


def _security(jars: Path, plugin: Path) -> None:
    """The security plugin, with the library its archive lacks."""
    plugin.mkdir(parents=True)
    with zipfile.ZipFile(jars / f"opensearch-security-{VERSION}.0.zip") as archive:
        archive.extractall(plugin)
    shutil.copy2(jars / "commons-collections4-4.4.jar", plugin)
    path = plugin / "plugin-descriptor.properties"
    path.write_text(without_rule_framework(path.read_text()))
