"""What ``flink-jobs`` last saw of the versions on their way: a file beside the plan, read by ``appliance features``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from appliance.parts.base import Context

State = Literal["filling", "differs", "waiting", "ready", "removing"]


class Step(msgspec.Struct, frozen=True):
    """state: of a version or a coming service. text: what it waits for, in words. since: first seen, µs wall clock."""

    state: State
    text: str
    since: int = 0


class Progress(msgspec.Struct, frozen=True):
    """at: when it was seen, µs of the wall clock. steps: ``<view>.v<N>`` or ``service:<name>`` → where it stands."""

    at: int = 0
    steps: dict[str, Step] = {}


class Rate(msgspec.Struct, frozen=True):
    """How fast a version was filled on this machine, from the start of its job to the position of the one before."""

    records: int
    seconds: float
    version: str
    at: int

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


def read(context: Context) -> Progress:
    path = _path(context, "progress.json")
    return msgspec.json.decode(path.read_bytes(), type=Progress) if path.exists() else Progress()


def write(context: Context, progress: Progress) -> None:
    _replace(_path(context, "progress.json"), msgspec.json.encode(progress))


def rate(context: Context) -> Rate | None:
    """The last one measured, None if none was."""
    path = _path(context, "rate.json")
    return msgspec.json.decode(path.read_bytes(), type=Rate) if path.exists() else None


def measured(context: Context, found: Rate) -> None:
    _replace(_path(context, "rate.json"), msgspec.json.encode(found))


def _path(context: Context, name: str) -> Path:
    return context.layout.plan_file.with_name(name)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_bytes(content)
    temporary.rename(path)
