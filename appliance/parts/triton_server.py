"""Runs tritonserver, and puts a new one in its place when it has grown: ``python -m appliance.parts.triton_server``.

Unloading models does not give all memory back, so a server that has seen many versions grows. Two servers may listen
on the same ports (``--reuse-http-port``, ``--reuse-grpc-port``: SO_REUSEPORT): a second one is started beside the
first, asked for every model's golden rows, and only then the first is killed. Its connections are reset at once, and a
client that tries again (``clients/triton.py`` does, within the request's time) finds the new one. SIGTERM would be less
gentle: such a server goes on listening and answers NOT_FOUND. SIGHUP asks for a new server now.

A server that ends, or does not answer for some time, ends this process too: supervisord starts both again.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from appliance import context as contexts
from appliance import golden, logs, notices
from appliance.clients.triton_repository import TritonRepository
from appliance.errors import ApplianceError, PartError
from appliance.parts.base import Context
from appliance.ports import Port
from appliance.processes import memory_mib
from appliance.supervisor import write_private

NAME = "triton"
NOTICE = "triton-memory"
_LOOK_SECONDS = 1.0
_WEIGH_SECONDS = 15.0
_ANSWER_SECONDS = 2.0
_SILENT_SECONDS = 30.0
"""A server that has not answered for so long hangs."""
_START_SECONDS = 120.0
_PAUSE_SECONDS = 600.0
"""Between two replacements for the sake of memory: one that did not help is not tried again at once."""
_STOP_SECONDS = 10.0
_SHARED_MEMORY = Path("/dev/shm")

_log = logging.getLogger(NAME)


class State(msgspec.Struct, frozen=True):
    """``run/triton/server.json``. number: of the server that answers, 1 for the first; pid: its process.
    replaced_at: Unix time, s, 0 if it is the first. took_seconds: from the new one's start to the old one's end."""

    number: int
    pid: int
    replaced_at: int = 0
    took_seconds: float = 0.0


def state_file(context: Context) -> Path:
    return context.run(NAME) / "server.json"


def lock_file(repository: Path) -> Path:
    return repository.parent / ".changing"


@contextmanager
def changing(repository: Path, wait: bool = True) -> Iterator[bool]:
    """Nobody else changes models or servers meanwhile; False when somebody does and ``wait`` is not.

    A model that is loaded while there are two servers would be known to one of them only.
    """
    with lock_file(repository).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


@dataclass(frozen=True)
class Server:
    """One tritonserver. number: 1, 2, …; servers after one another have different metrics ports and shared memory."""

    number: int
    process: subprocess.Popen[bytes]

    @property
    def identity(self) -> str:
        return _identity(self.number)

    def end(self, context: Context) -> None:
        """Kill it with its backend processes, and remove the shared memory that they leave."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for path in _SHARED_MEMORY.glob(f"{_prefix(context, self.number)}*"):
            path.unlink(missing_ok=True)


def _identity(number: int) -> str:
    return f"triton-{number}"


def _prefix(context: Context, number: int) -> str:
    return f"appliance-{context.installation.port_base}-{number}-"


def command(context: Context, number: int) -> tuple[str, ...]:
    """Explicit model control: the server starts with what the repository holds, also with nothing."""
    server = context.installation.part("triton") / "pytriton" / "tritonserver"
    binary = server / "bin" / "tritonserver"
    if not binary.exists():
        raise PartError("triton.not_laid_down", f"{binary} does not exist", hint="run ./install again")
    metrics = context.port(Port.TRITON_METRICS if number % 2 else Port.TRITON_METRICS_OTHER)
    return (
        "/usr/bin/setpriv", "--pdeathsig", "KILL", "--", str(binary),
        f"--id={_identity(number)}",
        f"--model-repository={context.layout.model_repository}",
        f"--backend-directory={server / 'backends'}",
        f"--backend-config=python,shm-region-prefix-name={_prefix(context, number)}",
        "--model-control-mode=explicit",
        "--load-model=*",
        "--strict-readiness=false",
        "--exit-on-error=false",
        "--disable-auto-complete-config",
        "--http-address=127.0.0.1", f"--http-port={context.port(Port.TRITON_HTTP)}", "--reuse-http-port=true",
        "--grpc-address=127.0.0.1", f"--grpc-port={context.port(Port.TRITON_GRPC)}", "--reuse-grpc-port=true",
        "--metrics-address=127.0.0.1", f"--metrics-port={metrics}",
        "--allow-gpu-metrics=false",
        "--exit-timeout-secs=3",
    )  # fmt: skip


class Keeping:
    """Keeps one server, and replaces it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._server = self._start(1)
        self._weighed_at = time.monotonic()
        self._heard_at = self._weighed_at + _START_SECONDS - _SILENT_SECONDS
        self._not_before = float("-inf")
        self._wanted = threading.Event()
        self._note(State(1, self._server.process.pid))

    def want(self) -> None:
        """Replace the server at the next look."""
        self._wanted.set()

    def look(self) -> None:
        """Raises PartError when the server has ended or hangs."""
        ended, now = self._server.process.poll(), time.monotonic()
        if ended is not None:
            raise PartError("triton.ended", f"tritonserver ended with status {ended}", hint="appliance logs triton")
        try:
            TritonRepository.of(self._context, _ANSWER_SECONDS).live()
            self._heard_at = time.monotonic()
        except ApplianceError as error:
            if now - self._heard_at > _SILENT_SECONDS:
                silent = f"tritonserver has not answered for {now - self._heard_at:.0f} s: {error.message}"
                raise PartError("triton.silent", silent) from error
        if self._wanted.is_set() or self._too_large(now):
            self._replace()

    def _too_large(self, now: float) -> bool:
        if now - self._weighed_at < _WEIGH_SECONDS:
            return False
        self._weighed_at = now
        limit = self._context.settings.triton.max_resident_mib
        size = memory_mib(self._server.process.pid)[1]
        if size <= limit:
            notices.take_back(self._context.layout, NOTICE)
            return False
        if now >= self._not_before:
            _log.warning("Triton holds %.0f MiB, allowed are %d MiB: a new server takes its place", size, limit)
            return True
        notices.post(
            self._context.layout,
            NOTICE,
            f"Triton holds {size:.0f} MiB, allowed are {limit} MiB, and a new server did not change that",
            hint="raise triton.max_resident_mib, or serve fewer models: appliance model list",
        )
        return False

    def _replace(self) -> None:
        """A new server beside the present one; once it answers rightly, the present one is killed."""
        with changing(self._context.layout.model_repository, wait=False) as free:
            if not free:
                return
            self._wanted.clear()
            self._not_before = time.monotonic() + _PAUSE_SECONDS
            began = time.monotonic()
            new = self._start(self._server.number + 1)
            try:
                self._wait_right(new)
            except ApplianceError as error:
                new.end(self._context)
                _log.error("the new server is not right, the present one stays", exc_info=error)
                return
            old, self._server = self._server, new
            old.end(self._context)
            took = round(time.monotonic() - began, 2)
            self._note(State(new.number, new.process.pid, int(time.time()), took))
            _log.info("server %d has taken the place of server %d after %.2f s", new.number, old.number, took)

    def _wait_right(self, new: Server) -> None:
        """Until it gives every golden score. Raises the last error after 120 s, PartError when it ends."""
        asked = TritonRepository.of(self._context, _ANSWER_SECONDS, server=new.identity)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if new.process.poll() is not None:
                raise PartError("triton.ended", f"it ended with status {new.process.returncode}")
            try:
                for rows in golden.in_repository(self._context.layout.model_repository):
                    golden.check(asked, rows)
                asked.live()
                return
            except ApplianceError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.1)

    def _start(self, number: int) -> Server:
        return Server(number, subprocess.Popen(command(self._context, number), start_new_session=True))

    def _note(self, state: State) -> None:
        write_private(state_file(self._context), msgspec.json.encode(state).decode())

    def stop(self) -> None:
        """Let requests under way end, then end it."""
        self._server.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._server.process.wait(_STOP_SECONDS)
        self._server.end(self._context)


def main() -> None:
    """Until SIGTERM; exits with status 1 when the server does not live."""
    logs.setup(NAME)
    context, stopping = contexts.current(), threading.Event()
    for path in _SHARED_MEMORY.glob(f"appliance-{context.installation.port_base}-*"):
        path.unlink(missing_ok=True)  # of a server that was killed
    keeping = Keeping(context)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGHUP, lambda *_: keeping.want())
    try:
        while not stopping.wait(_LOOK_SECONDS):
            keeping.look()
    except PartError as error:
        _log.error("ending, so that all is started again", exc_info=error)
        raise SystemExit(1) from error
    finally:
        keeping.stop()


if __name__ == "__main__":
    main()
