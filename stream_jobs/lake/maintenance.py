"""One round of housekeeping, run by the writer as a process of its own and ended with it.

Brings the state tables up to date, joins small files, and removes files and log entries that nothing can need any more:
neither the newest version, nor a reader of the last ``RETENTION_DAYS``, nor a version that a registered model names.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from appliance import context, logs
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.errors import LakeError
from stream_jobs.lake import delta, state
from stream_jobs.lake.reading import Limits, connect

RETENTION_DAYS = 7
_SMALL_FILES = 40
"""Compaction starts when a table has this many files below half the size it aims at."""
_TARGET_BYTES = 64 * 2**20
_LOG_ENTRIES = 1_000
"""Old log entries are looked at when a table has more than this many."""
_LIMITS = Limits(memory_mib=512, threads=1)
_PR_SET_PDEATHSIG = 1

_LOGGER = logging.getLogger("writer-lake")


def refresh_states(context: Context, scenario: plan.Plan) -> None:
    """Every captured table's state. A table that fails is logged, the others go on."""
    names, lake = context.names, context.layout.lake
    for table in scenario.tables:
        started = time.monotonic()
        changes, current = (
            lake / names.lake_changes(table.source, table.table),
            lake / names.lake_state(table.source, table.table),
        )
        with connect(context.run("writer-lake"), _LIMITS) as connection:
            keys = state.refresh(connection, table, changes, current)
        if keys:
            seconds = round(time.monotonic() - started, 3)
            _LOGGER.info("state brought up to date", extra={"table": table.table, "keys": keys, "seconds": seconds})


def tables(lake: Path) -> Iterator[Path]:
    """Every Delta table of the lake."""
    for log in sorted(lake.glob("*/*/*/_delta_log")):
        yield log.parent


def named_versions(models: Path, lake: Path) -> dict[Path, set[int]]:
    """Table → versions that a registered model was trained from (``Frame.lake_versions`` of ``models``)."""
    named: dict[Path, set[int]] = {}
    for card in models.glob("**/model.json"):
        content: Any = msgspec.json.decode(card.read_bytes())
        for folder, version in content.get("frame", {}).get("lake_versions", {}).items():
            named.setdefault(lake / folder, set()).add(int(version))
    return named


def compact(path: Path) -> bool:
    """Join small files if there are many; the rows, their partitions and the application ids stay."""
    table = delta.open_table(path)
    sizes: list[int] = table.get_add_actions(flatten=True)["size_bytes"].to_pylist()
    if sum(size < _TARGET_BYTES // 2 for size in sizes) < _SMALL_FILES:
        return False
    table.optimize.compact(target_size=_TARGET_BYTES, max_concurrent_tasks=1)
    return True


def vacuum(path: Path, named: set[int]) -> int:
    """Delete data files that left the table more than RETENTION_DAYS ago and that no named version holds."""
    table = delta.open_table(path)
    unused = table.vacuum(RETENTION_DAYS * 24, dry_run=True, enforce_retention_duration=False)
    if not unused:
        return 0
    kept = {file for version in named for file in DeltaTable(str(path), version=version).files()}
    doomed = [path / file for file in unused if file not in kept]
    for file in doomed:
        file.unlink(missing_ok=True)
    return len(doomed)


def trim_log(path: Path, named: set[int]) -> int:
    """Delete log entries before the newest checkpoint older than RETENTION_DAYS that no named version needs."""
    log = path / "_delta_log"
    entries = sorted(log.glob("[0-9]*.json"))
    if len(entries) <= _LOG_ENTRIES:
        return 0
    horizon = time.time() - RETENTION_DAYS * 86_400
    checkpoints = sorted(int(file.name[:20]) for file in log.glob("*.checkpoint.parquet"))
    old = [checkpoint for checkpoint in checkpoints if (log / f"{checkpoint:020d}.json").stat().st_mtime < horizon]
    if not old:
        return 0
    needed: set[int] = set()
    for version in named:
        base = max((checkpoint for checkpoint in checkpoints if checkpoint <= version), default=0)
        needed.update(range(base, version + 1))
    doomed = [entry for entry in entries if int(entry.stem) < old[-1] and int(entry.stem) not in needed]
    for entry in doomed:
        entry.unlink()
        (log / f"{entry.stem}.checkpoint.parquet").unlink(missing_ok=True)
    return len(doomed)


def keep_house(context: Context) -> None:
    """Compact, vacuum and trim every table. A table that another process has just changed waits for the next round."""
    lake = context.layout.lake
    named = named_versions(context.layout.data / "models", lake)
    for path in tables(lake):
        try:
            done = {
                "compacted": compact(path),
                "files_deleted": vacuum(path, named.get(path, set())),
                "log_entries_deleted": trim_log(path, named.get(path, set())),
            }
        except (DeltaError, LakeError) as error:
            _LOGGER.warning("table left for the next round", exc_info=error, extra={"table": str(path)})
            continue
        if any(done.values()):
            _LOGGER.info("table put in order", extra={"table": str(path), **done})


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    logs.setup("writer-lake")
    here = context.current()
    with (here.run("writer-lake") / "maintenance.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _LOGGER.info("another maintenance of the lake is running")
            return
        refresh_states(here, plan.read(here.layout.plan_file))
        keep_house(here)


if __name__ == "__main__":
    main()
