"""What is to be mended, and how far that has come: one file a mend below ``data/mending``.

A mend in ``open`` holds back the claims of its source's markers (``Mend.limit``); the marker process reads the folder
before each claim. So a mend that is written before the records it speaks of can be claimed is in time, whatever is
killed when. A finished one moves to ``done``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from appliance.parts.base import Context

Kind = Literal["truncate", "lost", "resnapshot"]
_KEPT_SECONDS = 90 * 86_400
"""Longer than any topic keeps the truncates that were mended."""


class Mend(msgspec.Struct, frozen=True):
    """One thing to mend.

    id: part of its file's name. reason: for people. at: when it was found, µs. tables: ``schema.table``.
    step: where the work stands; each kind has its own. holds: whether it holds back its source's markers.
    position: 32 hex digits; of a truncate that of its record, of a lost log that of the rows of the new snapshot, of
    another snapshot of a table one that the markers had claimed before it began. known_at: commit time there, µs.
    offset: from which of its steps' topic (heartbeat, notifications) the next step reads.
    written: records written so far, by table.
    """

    id: str
    source: str
    kind: Kind
    reason: str
    at: int
    tables: tuple[str, ...]
    step: str
    holds: bool
    position: str = ""
    known_at: int = 0
    offset: int = 0
    written: dict[str, int] = {}
    note: str = ""

    @property
    def limit(self) -> str:
        """Only positions below it may be claimed meanwhile; "": none at all."""
        return self.position if self.kind == "truncate" else ""


class Held(msgspec.Struct, frozen=True):
    """The marker's answer: these mends hold it, and until they are done it claims nothing above ``claim``."""

    mends: tuple[str, ...]
    claim: str
    known_at: int


def folder(context: Context) -> Path:
    path = context.layout.data / "mending"
    for name in ("open", "done", "held"):
        (path / name).mkdir(parents=True, exist_ok=True)
    return path


def unfinished(context: Context) -> list[Mend]:
    """The open mends, oldest first."""
    found = []
    for entry in os.scandir(folder(context) / "open"):
        if entry.name.endswith(".json"):
            try:
                found.append(msgspec.json.decode(Path(entry.path).read_bytes(), type=Mend))
            except FileNotFoundError:  # finished at this moment
                continue
    return sorted(found, key=lambda mend: (mend.at, mend.id))


def finished(context: Context) -> list[Mend]:
    """Those of the last 90 days, oldest first."""
    paths = (folder(context) / "done").glob("*.json")
    return sorted((msgspec.json.decode(path.read_bytes(), type=Mend) for path in paths), key=lambda mend: mend.at)


def known(context: Context, mend_id: str) -> bool:
    return any((folder(context) / name / f"{mend_id}.json").exists() for name in ("open", "done"))


def write(context: Context, mend: Mend) -> None:
    """Make the mend known, or its new step; it is on the disk when this returns."""
    _write(folder(context) / "open" / f"{mend.id}.json", msgspec.json.encode(mend))


def finish(context: Context, mend: Mend) -> None:
    """Nothing is held by it any more. Mends that nobody can ask for any more are forgotten."""
    write(context, mend)
    done = folder(context) / "done"
    (folder(context) / "open" / f"{mend.id}.json").rename(done / f"{mend.id}.json")
    for path in done.glob("*.json"):
        if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
            path.unlink()


def hold(context: Context, source: str, held: Held) -> None:
    """The marker says what holds it."""
    _write(folder(context) / "held" / f"{source}.json", msgspec.json.encode(held))


def held(context: Context, source: str) -> Held | None:
    path = folder(context) / "held" / f"{source}.json"
    return msgspec.json.decode(path.read_bytes(), type=Held) if path.exists() else None


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
