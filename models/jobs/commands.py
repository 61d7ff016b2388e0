"""``appliance model jobs | cancel``, and what every command that queues a job does."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from appliance import context as contexts
from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.supervisor import Supervisor
from models.errors import JobError
from models.jobs.queue import Job, Queue
from models.jobs.worker import NAME

_LOOK_S = 0.3


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to those of ``appliance model``."""
    listing = verbs.add_parser("jobs", help="what is being trained, what waits, and what became of the last ones")
    listing.add_argument("number", nargs="?", type=int, metavar="JOB", help="everything that is known of one")
    listing.add_argument("--follow", action="store_true", help="show what it says until it has ended")
    listing.add_argument("-n", type=int, default=20, metavar="N", help="so many of the newest (20)")
    listing.add_argument("--json", action="store_true", help="answer as JSON")
    listing.set_defaults(run=_jobs)
    cancel = verbs.add_parser("cancel", help="take a job out of the queue, or end it")
    cancel.add_argument("number", type=int, metavar="JOB")
    cancel.add_argument("--json", action="store_true", help="answer as JSON")
    cancel.set_defaults(run=_cancel)


def add(context: Context, kind: str, model: str, asked: dict[str, Any]) -> Job:
    """Queue a job; the same one again while it waits or runs is that job.

    Raises NotReadyError when there is no trainer to run it.
    """
    state = Supervisor(context).state(NAME)
    if state is None or not state.pid:
        raise NotReadyError(
            "trainer.down", f"the process {NAME}, which runs jobs, is down", hint=f"appliance up {NAME}"
        )
    key = msgspec.json.encode([kind, asked], order="deterministic").decode()
    return Queue.of(context).add(kind, model, asked, key)


def followed(context: Context, job: Job) -> Job:
    """Show what a job says, on standard error, until it has ended; then the job as it is.

    Interrupting this leaves the job alone. Raises JobError when it failed or was cancelled.
    """
    queue = Queue.of(context)
    if job.state == "queued":
        _tell(f"job {job.id} is queued; Ctrl-C leaves it there, `appliance model cancel {job.id}` takes it out")
    shown, path = 0, queue.log(job.id)
    while True:
        job = queue.get(job.id)  # before the log, so that the last lines are shown
        if path.exists():
            with path.open("rb") as log:
                log.seek(shown)
                lines = log.read().splitlines(keepends=True)
            for line in lines:
                if line.endswith(b"\n") or job.ended:
                    shown += len(line)
                    _tell(line.decode(errors="replace").rstrip("\n"))
        if job.ended:
            break
        time.sleep(_LOOK_S)
    if job.error is not None:
        raise JobError(job.error.code, job.error.message, hint=job.error.hint)
    if job.state == "cancelled":
        raise JobError("job.cancelled", f"job {job.id} was cancelled", hint="appliance model jobs")
    return job


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def show(job: Job, as_json: bool) -> None:
    """One job, on standard output."""
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(job), indent=1).decode() + "\n")
        return
    sys.stdout.write(_line(job) + "\n")
    if job.error:
        sys.stdout.write(f"        {job.error.message}\n")


def _time(at: int | None) -> str:
    return "" if at is None else datetime.fromtimestamp(at / 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _line(job: Job) -> str:
    what = f"version {job.result['version']}" if job.result and "version" in job.result else ""
    state = "cancelling" if job.cancel and not job.ended else job.state
    times = f"{_time(job.queued_at):<19} {_time(job.ended_at):<19}"
    return f"{job.id:>6}  {job.kind:<10} {job.model:<20} {state:<10} {times} {what}"


def _jobs(arguments: argparse.Namespace) -> int:
    context = contexts.current()
    queue = Queue.of(context)
    if arguments.number is not None:
        job = queue.get(arguments.number)
        show(followed(context, job) if arguments.follow else job, arguments.json)
        return 0
    found = queue.latest(arguments.n)
    if arguments.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=1).decode() + "\n")
        return 0
    sys.stdout.write(f"{'job':>6}  {'kind':<10} {'model':<20} {'state':<10} {'queued (UTC)':<19} {'ended':<19}\n")
    for job in found:
        show(job, False)
    return 0


def _cancel(arguments: argparse.Namespace) -> int:
    show(Queue.of(contexts.current()).cancel(arguments.number), arguments.json)
    return 0
