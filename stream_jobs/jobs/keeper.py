"""Compares the jobs that run with the jobs that the plan wants, and mends the difference."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from appliance.errors import PartError
from stream_jobs.jobs.wanted import ENDED, Job, latest_checkpoint

_LOGGER = logging.getLogger("flink-jobs")


@dataclass(frozen=True)
class Steps:
    """cancel: ids of jobs to end. submit: names of jobs that are missing. settled: all that is needed runs, alone."""

    cancel: tuple[str, ...]
    submit: tuple[str, ...]
    settled: bool


def steps(
    listed: Iterable[Mapping[str, Any]], wanted: Iterable[str], prefix: str, needed: Iterable[str] | None = None
) -> Steps:
    """What to do. Of two jobs with one name the older stays; nothing is submitted while a job of ours has to end.

    needed: of the wanted jobs those without which the appliance does not work; all of them unless given.
    """
    names = set(wanted)
    live = sorted(
        (job for job in listed if job["name"].startswith(prefix) and job["state"] not in ENDED),
        key=lambda job: (job["start-time"], job["jid"]),
    )
    kept: dict[str, Mapping[str, Any]] = {}
    ending = []
    for job in live:
        if job["name"] in names and job["name"] not in kept and job["state"] != "CANCELLING":
            kept[job["name"]] = job
        else:
            ending.append(job)
    missing = () if ending else tuple(sorted(names - kept.keys()))
    must = names if needed is None else set(needed)
    return Steps(
        cancel=tuple(job["jid"] for job in ending if job["state"] != "CANCELLING"),
        submit=missing,
        settled=not ending and all(name in kept and _runs(kept[name]) for name in must),
    )


def _runs(job: Mapping[str, Any]) -> bool:
    return bool(
        job["state"] == "RUNNING" and job["tasks"]["total"] > 0 and job["tasks"]["running"] == job["tasks"]["total"]
    )


@dataclass
class Restores:
    """Chooses where a job goes on. A checkpoint that a job failed on at once is not tried again: it starts over.

    Starting over is safe: edits are idempotent. It costs reading the topic from its start.
    """

    given: dict[str, Path] = field(default_factory=dict)
    refused: set[Path] = field(default_factory=set)

    def choose(self, job: Job, failed: bool) -> Path | None:
        """failed: the last job of this name ended as FAILED."""
        if failed and job.name in self.given:
            self.refused.add(self.given.pop(job.name))
        checkpoint = latest_checkpoint(job.checkpoints)
        if checkpoint is None or checkpoint in self.refused:
            return None
        self.given[job.name] = checkpoint
        return checkpoint


def check_partitions(found: Mapping[str, int], jobs: Sequence[Job], partitions: int) -> None:
    """Markers are addressed to each partition of an edits topic by its number of partitions: it must be the plan's.

    Raises PartError naming the topic that differs.
    """
    for job in jobs:
        there = found.get(job.view.edits_topic)
        if there != partitions:
            raise PartError(
                "flink.partitions",
                f"topic {job.view.edits_topic} has {there} partitions, setting kafka.partitions is {partitions}",
                hint=f"set kafka.partitions = {there} and run `appliance features apply`",
            )


Submit = Callable[[Sequence[tuple[Job, Path | None]]], dict[str, str]]


def start_missing(missing: Sequence[Job], failed: frozenset[str], restores: Restores, submit: Submit) -> None:
    """Submit the jobs, each from where it can go on."""
    chosen = [(job, restores.choose(job, job.name in failed)) for job in missing]
    for job, restore in chosen:
        _LOGGER.info("submitting", extra={"job": job.name, "restore": str(restore) if restore else None})
    for name, identity in submit(chosen).items():
        _LOGGER.info("submitted", extra={"job": name, "id": identity})


def failed_names(listed: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """Names whose newest job FAILED."""
    newest: dict[str, Mapping[str, Any]] = {}
    for job in sorted(listed, key=lambda job: int(job["start-time"])):
        newest[job["name"]] = job
    return frozenset(name for name, job in newest.items() if job["state"] == "FAILED")
