"""The queue of jobs and the trainer, with real processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.processes import lives
from models.errors import JobError
from models.jobs import kinds
from models.jobs.queue import Failure, Job, Queue
from models.jobs.worker import Worker

_WITHIN_S = 60.0
_SLEEPS = "import time; print('begun', flush=True); time.sleep(600)"


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "jobs")


def _worker(queue: Queue, script: str, memory_mib: int = 512) -> Worker:
    return Worker(queue, (sys.executable, "-c", script), memory_mib)


def _until(worker: Worker, queue: Queue, number: int, wanted: Callable[[Job], bool]) -> Job:
    began = time.monotonic()
    while not wanted(job := queue.get(number)):
        assert time.monotonic() - began < _WITHIN_S, job
        worker.tick()
        time.sleep(0.02)
    return job


def _pid(worker: Worker) -> int:
    assert worker._running is not None
    return worker._running[1].pid


def _begun(worker: Worker, queue: Queue, number: int) -> int:
    """The job's process, once it says something."""
    _until(worker, queue, number, lambda _: queue.log(number).exists() and b"begun" in queue.log(number).read_bytes())
    return _pid(worker)


def test_jobs_are_taken_in_the_order_they_came(queue: Queue) -> None:
    numbers = [queue.add("train", "m", {"n": n}).id for n in range(3)]
    for number in numbers:
        taken = queue.take()
        assert taken is not None
        assert (taken.id, taken.state, taken.attempts) == (number, "running", 1)
        queue.done(number, {"version": number})
    assert queue.take() is None
    assert [job.result for job in queue.latest(2)] == [{"version": 3}, {"version": 2}]


def test_the_same_job_is_not_queued_twice_while_it_waits_or_runs(queue: Queue) -> None:
    first = queue.add("train", "m", {}, "key")
    queue.take()
    assert queue.add("train", "m", {}, "key").id == first.id
    queue.done(first.id, {})
    assert queue.add("train", "m", {}, "key").id != first.id


def test_a_waiting_job_is_cancelled_at_once_and_an_ended_one_not_at_all(queue: Queue) -> None:
    job = queue.add("train", "m", {})
    assert queue.cancel(job.id).state == "cancelled"
    with pytest.raises(JobError, match="has ended"):
        queue.cancel(job.id)
    with pytest.raises(JobError, match="no job 99"):
        queue.get(99)


def test_a_running_job_is_cancelled_with_its_children(queue: Queue) -> None:
    script = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); {_SLEEPS}"
    )
    worker, job = _worker(queue, script), queue.add("train", "m", {})
    pid = _begun(worker, queue, job.id)
    children = [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    assert children
    queue.cancel(job.id)
    assert _until(worker, queue, job.id, lambda job: job.ended).state == "cancelled"
    assert not any(lives(each) for each in (pid, *children))


def test_a_killed_job_runs_once_more_and_has_then_failed(queue: Queue) -> None:
    worker, job = _worker(queue, _SLEEPS), queue.add("train", "m", {})
    for attempt in (1, 2):
        pid = _begun(worker, queue, job.id)
        queue.log(job.id).write_bytes(b"")
        os.kill(pid, signal.SIGKILL)
        _until(worker, queue, job.id, lambda job, n=attempt: job.ended or job.attempts > n)  # type: ignore[misc]
    ended = queue.get(job.id)
    assert ended.state == "failed"
    assert ended.error is not None
    assert "killed by signal 9, 2 times" in ended.error.message


def test_a_job_that_a_killed_trainer_left_is_taken_up_again(queue: Queue) -> None:
    job = queue.add("train", "m", {})
    queue.take()
    worker = _worker(queue, "print('begun')")
    worker.tick()
    assert (queue.get(job.id).state, queue.get(job.id).attempts) == ("running", 2)
    worker.stop()


def test_a_job_that_cannot_be_started_has_failed_and_the_next_one_runs(queue: Queue) -> None:
    worker, job, after = _worker(queue, _SLEEPS), queue.add("train", "m", {"n": 1}), queue.add("train", "m", {"n": 2})
    queue.log(job.id).mkdir()
    ended = _until(worker, queue, job.id, lambda job: job.ended)
    assert ended.error is not None
    assert ended.error.code == "job.not_started"
    _begun(worker, queue, after.id)
    worker.stop()


def test_a_trainer_that_stops_puts_its_job_back(queue: Queue) -> None:
    worker, job = _worker(queue, _SLEEPS), queue.add("train", "m", {})
    pid = _begun(worker, queue, job.id)
    worker.stop()
    assert not lives(pid)
    assert (queue.get(job.id).state, queue.get(job.id).attempts) == ("queued", 0)


def test_a_crash_is_not_tried_again_and_its_last_words_are_kept(queue: Queue) -> None:
    worker, job = _worker(queue, "raise SystemExit('no such column')"), queue.add("train", "m", {})
    ended = _until(worker, queue, job.id, lambda job: job.ended)
    assert (ended.state, ended.attempts) == ("failed", 1)
    assert ended.error is not None
    assert "no such column" in ended.error.message


def test_a_job_that_takes_too_much_memory_is_ended(queue: Queue) -> None:
    script = f"held = b'x' * (200 << 20); {_SLEEPS}"
    worker, job = _worker(queue, script, memory_mib=100), queue.add("train", "m", {})
    ended = _until(worker, queue, job.id, lambda job: job.ended)
    assert ended.error is not None
    assert "allowed are 100 MiB" in ended.error.message


def test_an_error_keeps_its_code_and_hint(queue: Queue) -> None:
    job = queue.add("train", "m", {})
    queue.take()
    queue.failed(job.id, Failure("training.no_events", "nothing there", "wait"))
    assert queue.get(job.id).error == Failure("training.no_events", "nothing there", "wait")


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(JobError, match="'bake'"):
        kinds.run("bake")


def test_a_job_steps_behind_everything_that_serves() -> None:
    """In a process of its own: there is no way back for one without rights."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        from models.jobs.child import step_back

        step_back()
        told = (
            f"{os.sched_getscheduler(0) == os.SCHED_IDLE} {os.nice(0)} {Path('/proc/self/oom_score_adj').read_text()}"
        )
        os.write(write, told.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).split() == [b"True", b"19", b"1000"]
