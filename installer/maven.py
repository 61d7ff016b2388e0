"""Java artifacts: resolved by Debian's Maven, checked file by file against the lock.

The plugin that copies them is third-party code too: all of its jars and poms are fetched first, by a build that runs
nothing of it, and checked against ``plugin.sha256`` before its goal is called.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from xml.sax.saxutils import escape

from installer import locks, sums
from installer.errors import InstallError, RefusedFileError
from installer.run import run

PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
PLUGIN_LOCK = locks.MAVEN / "plugin.sha256"

_PLUGIN_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>appliance</groupId><artifactId>plugin</artifactId><version>1</version><packaging>pom</packaging>
  <build><plugins><plugin>
    <groupId>{0}</groupId><artifactId>{1}</artifactId><version>{2}</version><extensions>true</extensions>
  </plugin></plugins></build>
</project>
"""


def _mvn(repository: Path, pom: Path, *words: str, what: str) -> None:
    """Run Maven on a pom with its own local repository. The machine's settings (mirrors, proxies) stay in force."""
    run(
        ["mvn", "--batch-mode", "--no-transfer-progress", "--strict-checksums", f"-Dmaven.repo.local={repository}",
         f"--file={pom}", *words],
        what,
        hint="see that the Maven repository (or the mirror in Maven's settings.xml) can be reached, then try again",
        code="maven.failed",
    )  # fmt: skip


def fetch_plugin(repository: Path) -> dict[str, str]:
    """Bring the copying plugin into ``repository`` without running any of it.

    Returns the plugin's jars and poms that are there: path below ``repository`` → SHA-256. As a build extension it is
    resolved with all it needs; the pom packaging binds no goal to the phase ``validate``.
    """
    with tempfile.TemporaryDirectory() as folder:
        pom = Path(folder) / "pom.xml"
        pom.write_text(_PLUGIN_POM.format(*(escape(word) for word in PLUGIN.split(":"))))
        _mvn(repository, pom, "validate", what=f"fetching {PLUGIN}")
    return sums.of_files((path for kind in ("*.jar", "*.pom") for path in repository.rglob(kind)), repository)


def _verified_plugin(repository: Path) -> None:
    """Fetch the plugin and check it. Raises RefusedFileError naming each file that differs."""
    expected = sums.read(PLUGIN_LOCK)
    if not all((repository / name).is_file() for name in expected):
        fetch_plugin(repository)
    found = sums.of_files((repository / name for name in expected if (repository / name).is_file()), repository)
    try:
        sums.refuse(found, expected, str(PLUGIN_LOCK))
    except RefusedFileError as error:
        for name in error.context["different"]:
            (repository / name).unlink()
        raise


def copy(pom: Path, repository: Path, target: Path) -> None:
    """Copy the runtime artifacts of a pom flat into ``target``, unchecked (the plugin's own files are checked)."""
    repository.mkdir(parents=True, exist_ok=True)
    _verified_plugin(repository)
    target.mkdir(parents=True, exist_ok=True)
    _mvn(
        repository, pom, f"{PLUGIN}:copy-dependencies", f"-DoutputDirectory={target}", "-DincludeScope=runtime",
        what=f"fetching the artifacts of {pom.name}",
    )  # fmt: skip


def fetch(lock: str, repository: Path, target: Path) -> None:
    """Copy the artifacts of a lock into the empty folder ``target``, every file checked.

    Raises RefusedFileError naming each file that is missing, extra or different; those that differ are taken out of
    the local repository as well, so that the next try fetches them again.
    """
    pom, expected = locks.MAVEN / f"{lock}.xml", sums.read(locks.MAVEN / f"{lock}.sha256")
    if target.exists() and any(target.iterdir()):
        raise InstallError("maven.target", f"{target} is not empty: artifacts go into a folder of their own")
    copy(pom, repository, target)
    try:
        sums.check(target, expected, f"installer/locks/maven/{lock}.sha256")
    except RefusedFileError as error:
        for name in error.context["different"]:
            for path in repository.rglob(name):
                path.unlink()
        raise
