"""Which jobs a plan wants, and where each goes on from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream_jobs.plan import Plan, View

_PREFIX = "edits"
ENDED = frozenset({"FINISHED", "CANCELED", "FAILED"})
"""States of a Flink job that does nothing any more."""


@dataclass(frozen=True)
class Job:
    """name: of the Flink job; another script for the same view has another name. checkpoints: its own folder."""

    name: str
    view: View
    checkpoints: Path


def prefix(tenant: str) -> str:
    """What the name of every job of ours starts with."""
    return f"{tenant}.{_PREFIX}."


def jobs(plan: Plan, tenant: str, checkpoints: Path) -> dict[str, Job]:
    """One job a view version. Its checkpoints belong to its script: those of another would not find their state."""
    found = {}
    for view in plan.computed:
        if f"{view.name}.v{view.version}" in plan.to_fill:
            continue
        digest = hashlib.sha256(view.sql.encode()).hexdigest()[:12]
        name = f"{prefix(tenant)}{view.name}.v{view.version}.{digest}"
        found[name] = Job(name, view, checkpoints / f"{view.name}.v{view.version}.{digest}")
    return found


def versions(listed: Iterable[Mapping[str, Any]], tenant: str) -> frozenset[str]:
    """``<view>.v<N>`` of every job of ours that has not ended."""
    names = (job["name"] for job in listed if job["state"] not in ENDED and job["name"].startswith(prefix(tenant)))
    return frozenset(name.removeprefix(prefix(tenant)).rpartition(".")[0] for name in names)


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint (``<job id>/chk-<n>`` with its ``_metadata``), None if there is none."""
    complete = [path for path in folder.glob("*/chk-*/_metadata") if path.stat().st_size > 0]
    return max(complete, key=lambda path: path.stat().st_mtime_ns).parent if complete else None
