"""supervisord: its configuration, its start and end, and the calls to it. One for each appliance."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from appliance import launch
from appliance.errors import PartError
from appliance.parts.base import Context, Process

_MAX_SOCKET_PATH = 90
"""Bytes; Linux takes 107, and the servers add names of their own."""

_PLAIN = re.compile(r"[A-Za-z0-9._/-]+")
"""Folder names that need no quoting in supervisord's, Kafka's and PostgreSQL's configuration."""

_SUPERVISORD = """\
[supervisord]
logfile={logs}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
pidfile={run}/supervisord.pid
childlogdir={logs}
identifier=appliance
umask=077
minfds=16384
nocleanup=true

[unix_http_server]
file={run}/supervisor.sock
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[include]
files = {run}/programs/*.conf
"""

_PROGRAM = """\
[program:{name}]
command={python} -I -S {launch} {wanted}
directory={run}
autostart=false
autorestart=true
startsecs=1
startretries=1000000
stopsignal={signal}
stopwaitsecs={wait}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=3
"""


@dataclass(frozen=True)
class ProcessState:
    """state: supervisord's word (RUNNING, STARTING, BACKOFF, STOPPED, STOPPING, EXITED, FATAL). pid: 0 if none."""

    name: str
    state: str
    pid: int
    since: int
    """Unix time at which it was last started, s."""
    description: str

    @property
    def running(self) -> bool:
        return self.state in ("RUNNING", "STARTING")


class Supervisor:
    """The supervisord of one appliance."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._run = context.layout.run
        self._socket = self._run / "supervisor.sock"
        if not _PLAIN.fullmatch(str(self._run)):
            raise PartError(
                "home.characters",
                f"{self._run} cannot be used: expected letters, digits and . _ / - only",
                hint="choose another --home",
            )
        if len(os.fsencode(self._socket)) > _MAX_SOCKET_PATH:
            raise PartError(
                "home.too_long",
                f"{self._socket} is too long for a socket: expected at most {_MAX_SOCKET_PATH} bytes",
                hint="choose a shorter --home",
            )

    def _rpc(self) -> Any:
        transport = SupervisorTransport("", "", f"unix://{self._socket}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport).supervisor

    def pid(self) -> int | None:
        """supervisord's process, None if it does not answer."""
        if not self._socket.exists():
            return None
        try:
            return int(self._rpc().getPID())
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None

    def start(self) -> None:
        """Start supervisord unless it runs; afterwards it answers. Raises PartError with the reason if it does not."""
        if self.pid() is not None:
            return
        layout = self._context.layout
        for folder in (layout.run, layout.logs, self._run / "programs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        layout.run.chmod(0o700)
        configuration = self._run / "supervisord.conf"
        configuration.write_text(_SUPERVISORD.format(logs=layout.logs, run=self._run))
        command = [sys.executable, "-m", "appliance.supervisord", "-c", str(configuration)]
        ended = subprocess.run(
            command, cwd=self._run, env=environment_of(self._context, "supervisord", {}), stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while self.pid() is None:
            if ended.returncode or time.monotonic() > deadline:
                raise PartError(
                    "supervisor.start",
                    f"supervisord (status {ended.returncode}) does not answer: {ended.stderr.strip()[-500:]}",
                    hint=f"see {layout.logs}/supervisord.log",
                )
            time.sleep(0.05)

    def shutdown(self) -> None:
        """Stop supervisord, and with it whatever still runs below it. Returns when it is gone."""
        pid = self.pid()
        if pid is None:
            return
        self._rpc().shutdown()
        deadline = time.monotonic() + 90
        while Path(f"/proc/{pid}").exists():
            if time.monotonic() > deadline:
                raise PartError("supervisor.stop", f"supervisord, process {pid}, has not ended after 90 s")
            time.sleep(0.05)

    def declare(self, name: str, process: Process) -> bool:
        """Write what ``name`` is to run. Returns whether that differs from what was declared before."""
        wanted = {
            "command": process.command,
            "environment": environment_of(self._context, name, process.environment),
            "directory": str(process.directory or self._run),
            "stop_signal": process.stop_signal.name,
        }
        folder = self._run / "programs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        changed = write_private(folder / f"{name}.json", json.dumps(wanted, indent=1))
        program = _PROGRAM.format(
            name=name, python=sys.executable, launch=Path(launch.__file__), wanted=folder / f"{name}.json",
            run=self._run, logs=self._context.layout.logs, signal=process.stop_signal.name.removeprefix("SIG"),
            wait=process.stop_wait_seconds,
        )  # fmt: skip
        return write_private(folder / f"{name}.conf", program) or changed

    def states(self) -> dict[str, ProcessState]:
        """Every declared process; empty if supervisord does not run."""
        if self.pid() is None:
            return {}
        return {
            info["name"]: ProcessState(info["name"], info["statename"], info["pid"], info["start"], info["description"])
            for info in self._rpc().getAllProcessInfo()
        }

    def state(self, name: str) -> ProcessState | None:
        return self.states().get(name)

    def begin(self, name: str) -> None:
        """Start a declared process unless it runs already; does not wait for it."""
        rpc = self._rpc()
        state = self.state(name)
        if state and state.running:
            return
        rpc.reloadConfig()
        if state:
            rpc.stopProcessGroup(name, True)
            rpc.removeProcessGroup(name)
        rpc.addProcessGroup(name)
        rpc.startProcess(name, False)

    def end(self, name: str) -> None:
        """Stop a process, however it is; returns when it has stopped."""
        state = self.state(name)
        if state and state.state not in ("STOPPED", "EXITED", "FATAL"):
            self._rpc().stopProcessGroup(name, True)


def environment_of(context: Context, name: str, own: dict[str, str]) -> dict[str, str]:
    """The whole environment of a process: nothing is inherited from the shell that said ``up`` except settings.

    ``APPLIANCE_OF`` marks every process of this appliance and its children.
    """
    layout = context.layout
    settings = {key: value for key, value in os.environ.items() if key.startswith("APPLIANCE_SETTING_")}
    base = {
        "PATH": f"{context.installation.env('serving') / 'bin'}:/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(layout.data),
        "PYTHONPATH": str(layout.code),
        "PYTHONUNBUFFERED": "1",
        "NUMBA_CACHE_DIR": str(layout.run / "compiled"),
        launch.PROCESS: name,
        launch.MARK: str(layout.etc),
    }
    if "APPLIANCE_HOME" in os.environ:
        base["APPLIANCE_HOME"] = os.environ["APPLIANCE_HOME"]
    return base | settings | own


def write_private(path: Path, text: str) -> bool:
    """Replace a file with mode 600 in one step; returns whether its content changed."""
    if path.exists() and hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(text.encode()).digest():
        return False
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.rename(path)
    return True
