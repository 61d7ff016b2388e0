"""Our own packages: built from the checkout, laid into the home in one step, a user's feature_repo kept."""

from __future__ import annotations

import base64
import csv
import hashlib
import shutil
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from installer.errors import InstallError
from installer.run import run
from installer.sums import sha256

_EDITABLE = "feature_repo"


def build(checkout: Path, tools: Path, folder: Path) -> Path:
    """The wheel of this checkout, built with the tools environment alone (no index, no isolation)."""
    command: list[str | Path] = [tools / "bin" / "python", "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    run(command, "building our own packages", directory=checkout)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise InstallError("code.wheel", f"expected one wheel in {folder}, got {[wheel.name for wheel in wheels]}")
    return wheels[0]


def _records(code: Path) -> dict[str, str]:
    """File → SHA-256 (as RECORD has it) of the installed distribution; none if nothing is installed."""
    rows: dict[str, str] = {}
    for record in code.glob("*.dist-info/RECORD"):
        with record.open(newline="") as file:
            rows.update({row[0]: row[1] for row in csv.reader(file) if len(row) >= 2})
    return rows


def _as_record(path: Path) -> str:
    digest = hashlib.sha256(path.read_bytes()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _is_source(path: Path) -> bool:
    return "__pycache__" not in path.parts and path.suffix != ".new"


def edited(code: Path) -> list[str]:
    """Files of the installed feature_repo that its user changed or added, relative to ``code``."""
    rows = _records(code)
    folder = code / _EDITABLE
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _is_source(path))
    names = [str(path.relative_to(code)) for path in files]
    return [name for name in names if rows.get(name) != _as_record(code / name)]


@dataclass(frozen=True)
class Laid:
    """kept: files of the user's that were kept. conflicts: those whose new version lies beside them as ``*.new``."""

    changed: bool
    kept: list[str]
    conflicts: list[str]


def current(code: Path, wheel: Path) -> bool:
    """Whether the code in the home is what the wheel holds (a user's edits aside)."""
    mark = code / ".wheel-sha256"
    return mark.exists() and mark.read_text() == sha256(wheel)


def lay(wheel: Path, code: Path) -> Laid:
    """Put the wheel's packages at ``code`` (a link to a folder beside it, so that replacing is one step)."""
    mine = edited(code) if code.exists() else []
    if current(code, wheel):
        return Laid(False, mine, [])
    before = _records(code) if code.exists() else {}
    place = code.with_name(f"{code.name}-{sha256(wheel)[:12]}")
    with tempfile.TemporaryDirectory(dir=code.parent, prefix=f".{code.name}.") as folder:
        new = Path(folder) / "code"
        with zipfile.ZipFile(wheel) as file:
            file.extractall(new)
        conflicts = [name for name in mine if _carry(code, new, name, before)]
        (new / ".wheel-sha256").write_text(sha256(wheel))
        run(
            ["/usr/bin/python3.11", "-m", "compileall", "-q", new, "-s", str(new), "-p", str(code)],
            "compiling our code",
        )
        new.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)
        new.rename(place)
    _point(code, place)
    return Laid(True, mine, conflicts)


def _carry(code: Path, new: Path, name: str, before: dict[str, str]) -> bool:
    """Take a user's file over into the new code. True if the new version has changed the same file."""
    theirs = new / name
    conflict = theirs.exists() and before.get(name) != _as_record(theirs)
    theirs.parent.mkdir(parents=True, exist_ok=True)
    if conflict:
        theirs.rename(theirs.with_name(f"{theirs.name}.new"))
    shutil.copy2(code / name, theirs)
    return conflict


def _point(code: Path, place: Path) -> None:
    """Make ``code`` a link to ``place`` and remove what it was before."""
    old = code.resolve() if code.is_symlink() else None
    link = code.with_name(f".{code.name}.link")
    link.unlink(missing_ok=True)
    link.symlink_to(place.name)
    if code.exists() and not code.is_symlink():
        shutil.rmtree(code)
    link.rename(code)
    if old is not None and old != place and old.exists():
        shutil.rmtree(old)
