"""The contract of a part: what it needs, what it runs, and how it proves that it is ready."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from appliance.ports import Port
from appliance.secrets import Secrets
from appliance.settings import Settings


@dataclass(frozen=True)
class Context:
    """What every verb of every part is given."""

    layout: Layout
    installation: Installation
    settings: Settings
    secrets: Secrets

    @property
    def names(self) -> Names:
        return Names(self.installation.tenant)

    def port(self, port: Port) -> int:
        return self.installation.port_base + int(port)

    def data(self, part: str) -> Path:
        """The part's data folder (created)."""
        path = self.layout.data / part
        path.mkdir(parents=True, exist_ok=True)
        return path

    def run(self, part: str) -> Path:
        """The part's folder for generated configuration and sockets (created, mode 700)."""
        path = self.layout.run / part
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def python(self, env: str = "serving") -> str:
        return self.installation.python(env)


@dataclass(frozen=True)
class Process:
    """One supervised process. No secret may stand in ``command``; ``environment`` is readable by the same user only."""

    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_wait_seconds: int = 30


class Part(Protocol):
    """A part of the appliance. Every verb can be said twice."""

    name: str
    needs: tuple[str, ...]
    """Names of the parts that must be ready before this one starts."""
    ready_timeout_seconds: int

    def prepare(self, context: Context) -> None:
        """Write configuration and create folders, before the process starts."""

    def process(self, context: Context) -> Process:
        """What supervisord runs."""

    def ready(self, context: Context) -> None:
        """Do a real read or write. Raises NotReadyError as long as it does not succeed."""

    def provision(self, context: Context) -> None:
        """Create what must exist inside the running part (users, topics, tables), right after it is first ready."""

    def drain(self, context: Context) -> None:
        """What must happen before the process is told to stop."""


class BasePart:
    """Defaults for the verbs most parts leave empty."""

    needs: tuple[str, ...] = ()
    ready_timeout_seconds = 300
    listens: Port | None = None
    """Its main port, for people to see; None if it has none."""

    def prepare(self, context: Context) -> None:
        """Nothing to prepare."""

    def provision(self, context: Context) -> None:
        """Nothing to create."""

    def drain(self, context: Context) -> None:
        """Nothing to finish."""
