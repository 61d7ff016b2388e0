"""SHA-256 lists in the format of ``sha256sum``, and checking a folder against one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from installer.errors import LockFileError, RefusedFileError

_LINE = re.compile(r"([0-9a-f]{64}) [ *](\S.*)")


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parse(text: str, origin: str) -> dict[str, str]:
    """File name → SHA-256. Empty lines and lines that start with ``#`` are comments.

    Raises LockFileError on a line that is neither, a name given twice, or an empty list.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise LockFileError(
                "lock.line",
                f"{origin}, line {number}: expected 64 hexadecimal digits, two spaces and a file name, got {line!r}",
                hint="write the lock again with scripts/lock-maven",
            )
        digest, name = match.groups()
        if name in sums:
            raise LockFileError("lock.twice", f"{origin}, line {number}: {name} is listed twice")
        sums[name] = digest
    if not sums:
        raise LockFileError(
            "lock.empty", f"{origin} lists no file", hint="write the lock again with scripts/lock-maven"
        )
    return sums


def read(path: Path) -> dict[str, str]:
    """The list in ``path``. Raises LockFileError if there is none."""
    if not path.exists():
        raise LockFileError("lock.missing", f"there is no lock {path}", hint=f"scripts/lock-maven {path.stem}")
    return parse(path.read_text(), str(path))


def render(sums: Mapping[str, str]) -> str:
    """The list as text, sorted by name."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def of_files(paths: Iterable[Path], below: Path) -> dict[str, str]:
    """Name relative to ``below`` → SHA-256."""
    return {str(path.relative_to(below)): sha256(path) for path in paths}


def check(folder: Path, expected: Mapping[str, str], origin: str) -> None:
    """Every file below ``folder`` is listed, and every listed file is there with the same content.

    Raises RefusedFileError naming every file that is missing, extra or different; context lists them with both sums.
    """
    found = of_files((path for path in folder.rglob("*") if path.is_file()), folder)
    refuse(found, expected, origin)


def refuse(found: Mapping[str, str], expected: Mapping[str, str], origin: str) -> None:
    """Raises RefusedFileError if the two lists differ in anything."""
    problems = [f"{name}: missing (expected {expected[name]})" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name}: not in the lock (got {found[name]})" for name in sorted(found.keys() - expected.keys())]
    different = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
    problems += [f"{name}: expected SHA-256 {expected[name]}, got {found[name]}" for name in different]
    if problems:
        raise RefusedFileError(
            "lock.refused",
            f"{len(problems)} file(s) refused by {origin}:\n  " + "\n  ".join(problems),
            context={"lock": origin, "different": different, "problems": problems},
            hint="if the registry is right and the lock is old, write the lock again; never skip the check",
        )
