"""The process ``trainer``: runs the queue's jobs, one at a time, each in a process of its own.

It watches over the job's memory, cancels what is to be cancelled, and gives no job up: one whose process was killed, or
that it left behind when it was killed itself, is run once more or has failed.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time

from appliance.parts.base import Context
from appliance.processes import memory_mib
from models.jobs.queue import Failure, Job, Queue

NAME = "trainer"
ASKED_TO_END = 128 + signal.SIGTERM
"""Exit status of a job that was told to end and has cleaned up."""
_STOP_S = 10.0
_MEMORY_INTERVAL_S = 1.0


class Worker:
    """``tick`` does what is to be done now and never waits for a job."""

    def __init__(self, queue: Queue, command: tuple[str, ...], memory_limit_mib: int) -> None:
        self._queue, self._command, self._limit = queue, command, memory_limit_mib
        self._log = logging.getLogger(NAME)
        self._running: tuple[int, subprocess.Popen[bytes]] | None = None
        self._looked = 0.0

    @classmethod
    def of(cls, context: Context) -> Worker:
        command = (sys.executable, "-m", "models.jobs.child")
        return cls(Queue.of(context), command, context.settings.training.memory_mib)

    def tick(self) -> None:
        if self._running is None:
            for left in self._queue.left_running():  # by a trainer that was killed
                self._note(self._queue.died(left.id, "its process and the trainer were killed"))
            job = self._queue.take()
            if job is not None:
                self._start(job)
            return
        number, process = self._running
        if process.poll() is not None:
            self._running = None
            self._ended(number, process.returncode)
        elif self._queue.get(number).cancel:
            self._kill(process)
            self._running = None
            self._queue.cancelled(number)
            self._note(self._queue.get(number))
        elif time.monotonic() - self._looked >= _MEMORY_INTERVAL_S:
            self._looked = time.monotonic()
            self._check_memory(number, process)

    def stop(self) -> None:
        """End the job that runs; it waits in the queue for the next trainer."""
        if self._running is None:
            return
        number, process = self._running
        self._running = None
        self._kill(process)
        self._queue.put_back(number)

    def _start(self, job: Job) -> None:
        try:
            with self._queue.log(job.id).open("ab") as log:
                process = subprocess.Popen(
                    (*self._command, str(job.id)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            self._queue.failed(job.id, Failure("job.not_started", f"its process cannot be started: {error}"))
            self._note(self._queue.get(job.id))
            return
        self._running = job.id, process
        self._log.info("job started", extra={"job": job.id, "kind": job.kind, "attempt": job.attempts})

    def _ended(self, number: int, status: int) -> None:
        job = self._queue.get(number)
        if not job.ended:
            why = f"its process was killed by signal {-status}" if status < 0 else f"its process ended with {status}"
            if status > 0 and status != ASKED_TO_END:  # a fault that would only come again
                last = self._queue.log(number).read_text(errors="replace")[-2000:].strip()
                self._queue.failed(number, Failure("job.crashed", f"{why}: {last}", f"appliance model jobs {number}"))
                job = self._queue.get(number)
            else:
                job = self._queue.died(number, why)
        self._note(job)

    def _check_memory(self, number: int, process: subprocess.Popen[bytes]) -> None:
        _, used = memory_mib(process.pid)
        if used <= self._limit:
            return
        self._kill(process)
        self._running = None
        message = f"the job took {used:.0f} MiB of memory, allowed are {self._limit} MiB"
        self._queue.failed(number, Failure("job.memory", message, "a shorter period, or training.memory_mib"))
        self._note(self._queue.get(number))

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        """The process, which first may clean up, and every child that outlives it: they are a session of their own."""
        for which, wait_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, None)):
            try:
                os.killpg(process.pid, which)
                process.wait(wait_s)
            except subprocess.TimeoutExpired:
                continue
            except ProcessLookupError:
                process.wait()

    def _note(self, job: Job) -> None:
        error = job.error.message if job.error else ""
        what = "job ended" if job.ended else "job waits again"
        self._log.info(what, extra={"job": job.id, "state": job.state, "error": error})
