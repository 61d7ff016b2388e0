"""One replay at a time: its lock, its way into the background, its end, and its patience with servers that restart."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.supervisor import Supervisor, environment_of
from stream_jobs.errors import SampleError
from stream_jobs.sample import database, state
from stream_jobs.sample.replay import Pace, Progress, Replay, find_position, open_log

_PATIENCE_SECONDS = 120
_PASSING = frozenset({"sample.database_down", "sample.clock"})


def _lock_file(context: Context) -> Path:
    return state.folder(context) / "replay.lock"


def running(context: Context) -> int | None:
    """Process id of the replay under way, None when there is none."""
    path = _lock_file(context)
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(path.read_text() or 0) or None
    return None


@contextlib.contextmanager
def alone(context: Context) -> Iterator[None]:
    """Hold the lock. Raises SampleError when another replay is under way."""
    with _lock_file(context).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SampleError(
                "sample.running", f"a replay is under way (process {running(context)})", hint="appliance sample stop"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def replay(
    context: Context, pace: Pace, *, batch: int, rows: int | None, until_us: int | None,
    tell: Callable[[Progress], None],
) -> Progress:  # fmt: skip
    """Replay until done or told to stop (SIGTERM, SIGINT). A server that restarts is waited for, without loss."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    loaded = state.loaded(context)
    with alone(context):
        log, committed, patience_ends = open_log(context, loaded), 0, 0.0
        while True:
            run: Replay | None = None
            try:
                with database.connect(context) as connection:
                    columns = [state.rows(context, number).column_names for number in range(len(loaded.streams))]
                    writer = database.Writer(connection, [stream.table for stream in loaded.streams], columns)
                    position = find_position(context, loaded, log, writer)
                    run = Replay(context, writer, log, position, loaded.until_us)
                    left = None if rows is None else rows - committed
                    done = run.run(
                        pace, batch=batch, rows=left, until_us=until_us, stop=lambda: stopped, tell=tell
                    )  # fmt: skip
                    return replace(done, committed=committed + done.committed)
            except ApplianceError as error:
                if run is not None and run.progress.committed:
                    committed, patience_ends = committed + run.progress.committed, 0.0
                patience_ends = patience_ends or time.monotonic() + _PATIENCE_SECONDS
                waited = time.monotonic() > patience_ends or Supervisor(context).pid() is None
                if error.code not in _PASSING or stopped or waited:
                    raise
                sys.stderr.write(f"waiting: {error.message}\n")
                time.sleep(0.5)


def detach(context: Context, arguments: Sequence[str]) -> int:
    """Start ``appliance sample replay ARGUMENTS`` in the background; returns its process id once it replays.

    ``appliance down`` ends it too. Raises SampleError with the end of its log when it ends at once.
    """
    log = context.layout.logs / "sample-replay.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "sample", "replay", *arguments],
            env=environment_of(context, "sample-replay", {}), cwd=context.layout.data, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    while running(context) != process.pid:
        if process.poll() is not None:
            if process.returncode == 0:
                break
            raise SampleError(
                "sample.replay", f"the replay ended at once: {log.read_text()[-500:].strip()}",
                hint=f"see {log}",
            )  # fmt: skip
        time.sleep(0.05)
    return process.pid


def end(context: Context, seconds: float = 30.0) -> int | None:
    """Tell the replay to stop and wait until it has; returns its process id, None when there was none."""
    pid = running(context)
    if pid is None:
        return None
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    limit = time.monotonic() + seconds
    while running(context) == pid:
        if time.monotonic() > limit:
            raise SampleError("sample.stop", f"the replay (process {pid}) has not stopped after {seconds:.0f} s")
        time.sleep(0.05)
    return pid
