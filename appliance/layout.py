"""Where the appliance keeps its files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The folders of one appliance.

    code: our packages, with their entry points. etc: settings and secrets. data: one folder a part.
    logs: one file a process. run: sockets and generated configuration; everything in it can be written again.
    """

    code: Path
    etc: Path
    data: Path
    logs: Path
    run: Path
    bin: Path

    @classmethod
    def below(cls, home: Path) -> Layout:
        """Everything below one folder (``--home``)."""
        home = home.absolute()
        return cls(home / "code", home / "etc", home / "data", home / "logs", home / "run", home / "bin")

    @classmethod
    def system(cls) -> Layout:
        """The layout of an installation as root without ``--home``."""
        var = Path("/var/lib/appliance")
        return cls(
            Path("/opt/appliance/code"), Path("/etc/appliance"), var / "data", var / "logs", var / "run",
            Path("/opt/appliance/bin"),
        )  # fmt: skip

    @classmethod
    def current(cls) -> Layout:
        """The layout that ``APPLIANCE_HOME`` names, else the system's."""
        home = os.environ.get("APPLIANCE_HOME")
        return cls.below(Path(home)) if home else cls.system()

    @property
    def secrets(self) -> Path:
        return self.etc / "secrets"

    @property
    def settings_file(self) -> Path:
        return self.etc / "appliance.toml"

    @property
    def installation_file(self) -> Path:
        return self.etc / "installation.json"

    @property
    def lake(self) -> Path:
        return self.data / "lake"

    @property
    def notices(self) -> Path:
        """What an operator must know (``appliance.notices``)."""
        return self.data / "notices"

    @property
    def plan_file(self) -> Path:
        """The compiled plan (views, topics, SQL, services): written by the compiler, read by every process of ours."""
        return self.data / "plan" / "plan.json"

    @property
    def model_repository(self) -> Path:
        """Triton's model repository."""
        return self.data / "triton" / "repository"
