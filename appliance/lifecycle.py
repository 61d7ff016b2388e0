"""Starting and stopping parts in order of need, waiting until each is really ready. Every verb can be said twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

import msgspec

from appliance import orphans
from appliance.errors import ApplianceError, NotReadyError, PartError
from appliance.parts.base import Context, Part
from appliance.supervisor import Supervisor, write_private

_POLL_SECONDS = 0.25
_SAY_EVERY_SECONDS = 10
_CRASHES_BEFORE_GIVING_UP = 5

Say = Callable[[str, str], None]
"""(part, what happens) → told to whoever waits."""


class ReadySince(msgspec.Struct, frozen=True):
    """pid: of the process that was found ready. at: Unix time, s."""

    pid: int
    at: int


@contextlib.contextmanager
def alone(context: Context) -> Iterator[None]:
    """Only one ``up``, ``down`` or ``restart`` at a time. Raises PartError if another one is at work."""
    context.layout.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (context.layout.run / "lifecycle.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PartError(
                "lifecycle.busy", f"another up, down or restart is at work ({file.name} is locked)",
                hint="wait until it has finished; `appliance status` shows how far it is",
            ) from error  # fmt: skip
        yield


def up(context: Context, parts: Mapping[str, Part], say: Say) -> dict[str, float]:
    """Start the parts (in order of need) and wait until each is ready and provisioned.

    Independent parts start side by side, one more than there are processors. Returns name → seconds taken.
    Raises the first failure after the parts already under way have come to an end.
    """
    supervisor = Supervisor(context)
    if supervisor.pid() is None:
        orphans.end(context, say)
        supervisor.start()

    def start(name: str) -> float:
        began = time.monotonic()
        start_one(context, supervisor, parts[name], say)
        return time.monotonic() - began

    needs = {name: set(part.needs) & parts.keys() for name, part in parts.items()}
    want(context, wanted(context) | parts.keys())
    return _in_order(needs, start, (os.cpu_count() or 1) + 1)


def wanted(context: Context) -> set[str]:
    """Names of the parts that should run: started by ``up`` and not stopped by ``down`` since."""
    path = context.layout.run / "wanted.json"
    return msgspec.json.decode(path.read_bytes(), type=set[str]) if path.exists() else set()


def want(context: Context, names: set[str]) -> None:
    """Remember which parts should run, so that the keeper can bring them back."""
    write_private(context.layout.run / "wanted.json", msgspec.json.encode(sorted(names)).decode())


def start_one(context: Context, supervisor: Supervisor, part: Part, say: Say) -> None:
    """Start one part whose needs are ready; returns when it is ready and provisioned."""
    state = supervisor.state(part.name)
    if state is None or not state.running:
        say(part.name, "preparing")
        part.prepare(context)
        supervisor.declare(part.name, part.process(context))
        say(part.name, "starting")
        supervisor.begin(part.name)
    began = time.monotonic()
    _wait_ready(context, supervisor, part, say)
    say(part.name, "provisioning")
    part.provision(context)
    say(part.name, f"ready after {time.monotonic() - began:.1f} s")


def _wait_ready(context: Context, supervisor: Supervisor, part: Part, say: Say) -> None:
    began = time.monotonic()
    said, starts, pid, reason = began, 0, 0, "it has not been asked yet"
    while True:
        state = supervisor.state(part.name)
        if state and state.pid and state.pid != pid:
            pid, starts = state.pid, starts + 1
        description = state.description if state else "it is not declared"
        if state is None or state.state == "FATAL" or starts > _CRASHES_BEFORE_GIVING_UP:
            raise PartError(
                "part.exits",
                f"{part.name} does not stay up ({starts} starts): {description}",
                context={"part": part.name, "log": log_tail(context, part.name)},
                hint=f"appliance logs {part.name}",
            )
        if state.pid:
            try:
                part.ready(context)
            except NotReadyError as error:
                reason = error.message
            else:
                still = supervisor.state(part.name)
                if still and still.state == "RUNNING" and still.pid == state.pid:
                    note_ready(context, part.name, state.pid)
                    return
                reason = "it has answered, but its process has not lasted a second yet"
        now = time.monotonic()
        if now - began > part.ready_timeout_seconds:
            raise NotReadyError(
                "part.not_ready",
                f"{part.name} is not ready after {part.ready_timeout_seconds} s (process: {state.state}): {reason}",
                context={"part": part.name, "log": log_tail(context, part.name)},
                hint=f"appliance logs {part.name}",
            )
        if now - said >= _SAY_EVERY_SECONDS:
            say(part.name, f"waiting, {now - began:.0f} s of at most {part.ready_timeout_seconds} s: {reason}")
            said = now
        time.sleep(_POLL_SECONDS)


def note_ready(context: Context, name: str, pid: int) -> ReadySince:
    """When the process with this pid was first found ready; remembered in ``run/ready``."""
    path = context.run("ready") / f"{name}.json"
    if path.exists():
        known = msgspec.json.decode(path.read_bytes(), type=ReadySince)
        if known.pid == pid:
            return known
    since = ReadySince(pid, int(time.time()))
    write_private(path, msgspec.json.encode(since).decode())
    return since


def down(context: Context, parts: Mapping[str, Part], say: Say, everything: bool) -> None:
    """Drain and stop the parts, those that need others first; with ``everything``, supervisord and the rest too.

    Raises PartError naming the processes if any of ours is left.
    """
    supervisor = Supervisor(context)
    want(context, set() if everything else wanted(context) - parts.keys())

    def stop(name: str) -> float:
        began = time.monotonic()
        stop_one(context, supervisor, parts[name], say)
        return time.monotonic() - began

    if supervisor.pid() is not None:
        needed_by = {name: {other for other, part in parts.items() if name in part.needs} for name in parts}
        _in_order(needed_by, stop, len(parts) or 1)
    if everything:
        supervisor.shutdown()
        orphans.end(context, say)


def stop_one(context: Context, supervisor: Supervisor, part: Part, say: Say) -> None:
    """Drain and stop one part; returns when its process has ended. A failed drain does not keep it from stopping."""
    state = supervisor.state(part.name)
    if state is None or state.state in ("STOPPED", "EXITED", "FATAL"):
        return
    began = time.monotonic()
    if state.state == "RUNNING":
        try:
            part.drain(context)
        except ApplianceError as error:
            say(part.name, f"could not be drained: {error.message}")
    say(part.name, "stopping")
    supervisor.end(part.name)
    say(part.name, f"stopped after {time.monotonic() - began:.1f} s")


def log_tail(context: Context, name: str, lines: int = 15) -> list[str]:
    """The last lines of a process's log."""
    path = context.layout.logs / f"{name}.log"
    return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []


def _in_order(after: Mapping[str, set[str]], work: Callable[[str], float], width: int) -> dict[str, float]:
    """Do ``work`` for each name once everything it comes ``after`` is done, at most ``width`` at a time."""
    done: dict[str, float] = {}
    running: dict[Future[float], str] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(width) as pool:
        while len(done) < len(after):
            if failure is None:
                for name, before in after.items():
                    if name not in done and name not in running.values() and before <= done.keys():
                        running[pool.submit(work, name)] = name
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                error = future.exception()
                failure = failure or error
                done[name] = 0.0 if error else future.result()
    if failure:
        raise failure
    return done


def asked(context: Context, parts: Mapping[str, Part], seconds: float) -> dict[str, str]:
    """Ask all parts at once whether they are ready: name → "" or why not. No answer in time counts as no."""
    answers: dict[str, str] = {}

    def ask(part: Part) -> None:
        try:
            part.ready(context)
        except ApplianceError as error:
            answers[part.name] = error.message
        else:
            answers[part.name] = ""

    threads = [threading.Thread(target=ask, args=(part,), daemon=True) for part in parts.values()]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return {name: answers.get(name, f"it has not answered within {seconds:.0f} s") for name in parts}


def log_file(context: Context, name: str) -> Path:
    """Log of a process. Raises PartError if there is none."""
    path = context.layout.logs / f"{name}.log"
    if not path.exists():
        raise PartError(
            "log.missing", f"{name} was never started: it has no log at {path}", hint=f"appliance up {name}"
        )
    return path
