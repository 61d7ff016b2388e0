"""``python -m models.jobs.child NUMBER``: one job, in a process of its own, behind everything that serves.

It gets only the processor time that nothing else wants (SCHED_IDLE, which its own children inherit), and is the first
that the kernel ends when memory runs out. What it says goes to standard output; the answer is in the job.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from appliance import context as contexts
from appliance.errors import ApplianceError
from models.jobs import kinds
from models.jobs.queue import Failure, Queue
from models.jobs.worker import ASKED_TO_END


def step_back() -> None:
    """Lowest priority for processor and memory; both need no rights."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    os.nice(19)
    Path("/proc/self/oom_score_adj").write_text("1000")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Exit status 0: the job's end is in the queue, whichever it is."""
    step_back()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(ASKED_TO_END))  # so that every `finally` cleans up
    context = contexts.current()
    queue = Queue.of(context)
    job = queue.get(int(sys.argv[1]))
    try:
        result = kinds.run(job.kind)(context, job.asked, _say)
    except ApplianceError as error:
        _say(error.message)
        queue.failed(job.id, Failure.of(error))
        return 0
    queue.done(job.id, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
