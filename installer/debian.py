"""Debian's packages: which, in which versions, and installing them without anything of theirs being started."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from installer import locks
from installer.errors import InstallError, LockFileError, RefusedFileError
from installer.run import run

LOCK = locks.FOLDER / "debian" / "packages.txt"
_QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Written by the appliance's installer for as long as it installs packages.\nexit 101\n"
"""No package may start a service."""
_CLUSTER = Path("/etc/postgresql-common/createcluster.conf")
_CLUSTER_TEXT = (
    "# Written by the appliance's installer for as long as it installs packages.\ncreate_main_cluster = false\n"
)
_OURS_OFF = ("redis-server", "postgresql")
"""Services that would start at boot; the appliance runs these programs itself."""
_HINT = "see that apt-get works on this machine (`apt-get update`), then run ./install again"


@dataclass(frozen=True)
class Package:
    """version, sha256: what the appliance was tested with."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class Offer:
    """A package as the archive offers it."""

    version: str
    sha256: str


def parse(text: str, origin: str = str(LOCK)) -> tuple[Package, ...]:
    """The lock's packages. Raises LockFileError on a line that is not name, version, SHA-256."""
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"(\S+) (\S+) ([0-9a-f]{64})", line)
        if not match:
            raise LockFileError(
                "lock.line", f"{origin}, line {number}: expected name, version and SHA-256, got {line!r}",
                hint="scripts/lock-debian",
            )  # fmt: skip
        packages.append(Package(*match.groups()))
    return tuple(packages)


def wanted() -> tuple[Package, ...]:
    return parse(LOCK.read_text())


def installed(packages: tuple[Package, ...]) -> dict[str, str]:
    """Version of each package that is installed whole."""
    shape = "--showformat=${Package} ${db:Status-Status} ${Version}\n"
    done = subprocess.run(
        ["dpkg-query", "--show", shape, *(package.name for package in packages)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False,
    )  # fmt: skip
    rows = (line.split(" ") for line in done.stdout.splitlines())
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "installed"}


def older(version: str, than: str) -> bool:
    """Whether a Debian version comes before another."""
    return subprocess.run(["dpkg", "--compare-versions", version, "lt", than], check=False).returncode == 0


class Archive:
    """The package archive as apt is configured here, read into a folder of our own so that nothing of apt's changes."""

    def __init__(self, folder: Path) -> None:
        self._options = [
            "-o", f"Dir::State={folder}/apt/state", "-o", f"Dir::Cache={folder}/apt/cache",
            "-o", "Debug::NoLocking=true", "-o", "APT::Sandbox::User=root", "-o", "APT::Install-Recommends=false",
        ]  # fmt: skip
        self._folder = folder / "apt"

    def update(self) -> None:
        """Fetch the lists, unless the bootstrap has. Raises InstallError if the archive cannot be reached."""
        lists = self._folder / "state" / "lists"
        if lists.is_dir() and any(lists.glob("*Packages*")):
            return
        for part in ("state/lists/partial", "cache/archives/partial"):
            (self._folder / part).mkdir(parents=True, exist_ok=True)
        command = ["apt-get", *self._options, "-q", "update", "-o", "APT::Update::Error-Mode=any"]
        run(command, "reading Debian's archive", environment=_QUIET, hint=_HINT, code="machine.debian_archive")

    def offers(self, packages: tuple[Package, ...]) -> dict[str, Offer]:
        """Each package as the archive would install it."""
        shown = run(["apt-cache", *self._options, "show", "--no-all-versions", *(p.name for p in packages)],
                    "reading Debian's archive", environment=_QUIET, hint=_HINT)  # fmt: skip
        offers = {}
        for paragraph in shown.split("\n\n"):
            fields = dict(re.findall(r"^(Package|Version|SHA256): (.+)$", paragraph, re.MULTILINE))
            if len(fields) == 3:
                offers[fields["Package"]] = Offer(fields["Version"], fields["SHA256"])
        return offers

    def download_bytes(self, packages: tuple[Package, ...]) -> int:
        """What installing the packages with all they need would download."""
        listed = run(["apt-get", *self._options, "install", "--print-uris", "-qq", *(p.name for p in packages)],
                     "asking Debian's archive", environment=_QUIET, hint=_HINT)  # fmt: skip
        return sum(int(size) for size in re.findall(r"^'\S+' \S+ (\d+)", listed, re.MULTILINE))


def judge(package: Package, offer: Offer | None) -> str | None:
    """A remark on what the archive offers, None if it is what was tested.

    Raises RefusedFileError when it is not offered, older, or the tested version with another content.
    """
    if offer is None or older(offer.version, package.version):
        raise RefusedFileError(
            "debian.version",
            f"Debian package {package.name}: expected {package.version} or newer, got "
            f"{offer.version if offer else 'none'} from this machine's archive",
            hint="add Debian 12's main, updates and security archives to apt's sources",
        )
    if offer.version == package.version and offer.sha256 != package.sha256:
        raise RefusedFileError(
            "lock.refused",
            f"Debian package {package.name} {package.version}: expected SHA-256 {package.sha256}, got {offer.sha256}",
            context={"different": [package.name]},
            hint="this machine's apt sources offer another file under the same version: correct them",
        )
    if offer.version != package.version:
        return f"{package.name} {offer.version} (newer than the tested {package.version}; signed by Debian)"
    return None


@contextmanager
def _instead(path: Path, text: str) -> Iterator[None]:
    """``path`` holds ``text`` meanwhile; what was there before, or nothing, comes back, even after a killed run."""
    saved = path.with_name(f"{path.name}.before-appliance")
    if saved.exists():
        saved.rename(path)
    elif path.exists() and path.read_text() == text:
        path.unlink()
    if path.exists():
        path.rename(saved)
    path.write_text(text)
    path.chmod(saved.stat().st_mode & 0o777 if saved.exists() else 0o755)
    try:
        yield
    finally:
        path.unlink()
        if saved.exists():
            saved.rename(path)


def install(missing: tuple[Package, ...]) -> None:
    """Install packages; what was half installed by an interrupted run is finished first."""
    names = [package.name for package in missing]
    apt = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold",
           "-o", "DPkg::Lock::Timeout=300"]  # fmt: skip
    fresh = [service for service in _OURS_OFF if not (Path("/etc/init.d") / service).exists()]
    with _instead(_POLICY, _POLICY_TEXT):
        run(["dpkg", "--configure", "-a"], "finishing earlier package installations", environment=_QUIET, hint=_HINT)
        run([*apt, "update"], "reading Debian's archive", environment=_QUIET, hint=_HINT)
        if any(name.startswith("postgresql") for name in names):
            run([*apt, "install", "postgresql-common"], "installing postgresql-common", environment=_QUIET, hint=_HINT)
            with _instead(_CLUSTER, _CLUSTER_TEXT):
                run([*apt, "install", *names], "installing Debian packages", environment=_QUIET, hint=_HINT)
        else:
            run([*apt, "install", *names], "installing Debian packages", environment=_QUIET, hint=_HINT)
        for service in fresh:
            if (Path("/etc/init.d") / service).exists():
                run(["update-rc.d", service, "disable"], f"keeping {service} from starting at boot", environment=_QUIET)
    left = set(names) - installed(missing).keys()
    if left:
        raise InstallError("debian.missing", f"apt-get says nothing, but these are not installed: {sorted(left)}")


@contextmanager
def archive() -> Iterator[Archive]:
    """The archive, read into the folder of the borrowed Python or a temporary one."""
    borrowed = os.environ.get("APPLIANCE_BORROWED")
    if borrowed:
        yield Archive(Path(borrowed))
        return
    with tempfile.TemporaryDirectory(prefix="appliance-apt.") as folder:
        yield Archive(Path(folder))
