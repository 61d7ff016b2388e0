"""What a batch was asked to do, kept in ``data/batch/<name>/`` so that it can go on after it was killed."""

from __future__ import annotations

import fcntl
import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from appliance.errors import UsageError
from appliance.parts.base import Context
from gateway.errors import BatchError

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_FILE_BLOCK = 1 << 20


class Asked(msgspec.Struct, frozen=True):
    """The inputs of a batch, as they were said: the same ones under the same name are the same batch.

    source: ``schema.table`` or the path of a Parquet file. content: SHA-256 of the file, "" for a table. as_of: latest,
    a time or a position. where: an SQL condition, "" for none. time_zone: of the file's times that have none, or "".
    write_back: whether the results go into the business database too.
    """

    service: str
    source: str
    content: str
    as_of: str
    where: str
    time_zone: str
    write_back: bool = False


class Summary(msgspec.Struct, frozen=True):
    """What came of a batch. decisions, versions: → rows; reasons: code of a reject → rows."""

    scored: int = 0
    rejected: int = 0
    decisions: dict[str, int] = {}
    versions: dict[str, int] = {}
    reasons: dict[str, int] = {}


class Job(msgspec.Struct, frozen=True):
    """A batch whose input has been read.

    rows: in ``input.parquet``; chunk_rows: in each commit of the results but the last. position: the cut, 32 hex
    digits. clock: the appliance clock when it began, the time of rows that have none; created_at: the wall clock then
    (both µs UTC). summary: once it is finished.
    """

    name: str
    asked: Asked
    rows: int
    chunk_rows: int
    position: str
    clock: int
    created_at: int
    definition_hash: str
    summary: Summary | None = None


def folder(context: Context, name: str) -> Path:
    """Raises UsageError when ``name`` cannot be part of a table's name."""
    if not _NAME.fullmatch(name):
        raise UsageError("batch.name", f"{name!r} is no name for a result: expected {_NAME.pattern}")
    return context.data("batch") / name


def input_file(place: Path) -> Path:
    return place / "input.parquet"


def read(place: Path) -> Job | None:
    """The job of a folder, None if its input was never read to the end."""
    path = place / "job.json"
    return msgspec.json.decode(path.read_bytes(), type=Job) if path.exists() else None


def write(place: Path, job: Job) -> None:
    temporary = place / "job.json.new"
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(job), indent=1))
    temporary.rename(place / "job.json")


def check_same(job: Job, asked: Asked) -> None:
    """Raises UsageError when the name was used for other inputs."""
    before, now = msgspec.to_builtins(job.asked), msgspec.to_builtins(asked)
    different = {key: (before[key], now[key]) for key in before if before[key] != now[key]}
    if different:
        told = "; ".join(f"{key} was {old!r} and is now {new!r}" for key, (old, new) in different.items())
        raise UsageError(
            "batch.other_inputs", f"{job.name} is the result of other inputs: {told}", hint="choose another name: --to"
        )


def sha256(path: Path) -> str:
    """Of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_FILE_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def held(place: Path) -> Iterator[None]:
    """The folder (created), for one process at a time. Raises BatchError when another one works on it."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BatchError(
                "batch.running", f"another process works on {place.name}", hint="wait until it has finished"
            ) from None
        yield
