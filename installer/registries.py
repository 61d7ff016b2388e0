"""Whether the registries can be reached, asked through the clients' own configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from installer import environments, maven
from installer.errors import InstallError
from installer.machine import Check

_TIMEOUT_SECONDS = 30
MAVEN_PROGRAM = Path("/usr/bin/mvn")
_PROBE = "pluggy"
"""A small wheel of the tools lock: it is downloaded to see whether the index answers."""


def _debian_file(pattern: str) -> Path | None:
    """A file of a Debian package: one that is installed, else one unpacked by the bootstrap."""
    roots = [Path("/")]
    if "APPLIANCE_BORROWED" in os.environ:
        roots.append(Path(os.environ["APPLIANCE_BORROWED"]) / "root")
    found = [path for root in roots for path in sorted(root.glob(pattern))]
    return found[0] if found else None


def borrowed_environment(folder: Path) -> dict[str, str]:
    """What the Python that ./install borrows needs to find its library."""
    root = folder / "root"
    libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu"
    return {"PYTHONHOME": f"{root}/usr", "LD_LIBRARY_PATH": libraries}


def _requirement(name: str) -> str:
    text = environments.requirements("tools").read_text().replace("\\\n", "")
    match = re.search(rf"^{name}==.*$", text, re.MULTILINE)
    if not match:
        raise InstallError("lock.probe", f"the tools lock names no {name}")
    return match.group(0)


def python_index() -> Check:
    """Download one small wheel with pip, checked against its hash."""
    name, expected, hint = "Python package index", "pip downloads a wheel", "see pip's configuration and the network"
    pip = _debian_file("usr/share/python-wheels/pip-*.whl")
    if pip is None:
        return Check(name, False, expected, "no pip on this machine", "install the Debian package python3-venv")
    environment = {**os.environ, "PYTHONPATH": str(pip)}
    if "APPLIANCE_BORROWED" in os.environ:
        environment |= borrowed_environment(Path(os.environ["APPLIANCE_BORROWED"]))
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(_requirement(_PROBE) + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-cache-dir",
             "--retries", "1", "--no-deps", "--require-hashes", "--dest", folder, "-r", str(wanted)],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1:] or ["no message"]
    return Check(name, done.returncode == 0, expected, "reached" if done.returncode == 0 else last[0], hint)


def maven_repository() -> Check:
    """With Maven here: fetch a pom with it. Without: ask the address that Maven's own files name."""
    name, hint = "Maven repository", "see Maven's settings.xml and the network"
    group, artifact, version = maven.PLUGIN.split(":")
    if MAVEN_PROGRAM.exists():
        expected = "Maven fetches its plugin"
        with tempfile.TemporaryDirectory() as folder:
            try:
                maven.fetch_plugin(Path(folder))
            except InstallError as error:
                return Check(name, False, expected, _first_error(error.message), hint)
        return Check(name, True, expected, "reached")
    path = f"{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.pom"
    try:
        address = _maven_address()
        with urllib.request.urlopen(f"{address.rstrip('/')}/{path}", timeout=_TIMEOUT_SECONDS) as answer:
            status = answer.status
    except (OSError, urllib.error.URLError, InstallError, ValueError) as error:
        return Check(name, False, f"{path} is served", str(error), hint)
    return Check(name, status == 200, f"{path} is served", f"HTTP status {status}", hint)


def _first_error(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if "[ERROR]" in line), text.splitlines()[0])


def _maven_address() -> str:
    """The address of the central repository: a mirror in settings.xml, else the one inside Maven's own model."""
    for settings in (Path.home() / ".m2/settings.xml", Path("/etc/maven/settings.xml")):
        if settings.exists():
            for mirror in ElementTree.parse(settings).getroot().iterfind(".//{*}mirror"):
                of, url = mirror.findtext("{*}mirrorOf") or "", mirror.findtext("{*}url")
                if url and {"*", "central", "external:*"} & set(of.split(",")):
                    return url
    jar = _debian_file("usr/share/java/maven3-model-builder.jar")
    if jar is None:
        raise InstallError("maven.model", "Maven's own files are not there to read its repository's address from")
    with zipfile.ZipFile(jar) as file:
        model = ElementTree.fromstring(file.read("org/apache/maven/model/pom-4.0.0.xml"))
    url = model.findtext(".//{*}repositories/{*}repository/{*}url")
    if not url:
        raise InstallError("maven.model", f"{jar} names no repository")
    return url
