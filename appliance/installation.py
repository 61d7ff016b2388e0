"""What the installer laid down, written once by it and read by everything that runs."""

from __future__ import annotations

from pathlib import Path

import msgspec

from appliance.errors import PartError
from appliance.layout import Layout


class Installation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """envs: name → folder of a Python environment. parts: name → folder of a third-party part as laid down.

    port_base: first of the ports. user: the system user every process runs as. tenant: prefix of every name.
    """

    version: str
    port_base: int
    user: str
    tenant: str
    scenario: str
    cache: str
    envs: dict[str, str]
    parts: dict[str, str]

    def python(self, env: str) -> str:
        """The interpreter of environment ``serving``, ``streaming``, ``training`` or ``triton``."""
        return str(self.env(env) / "bin" / "python")

    def env(self, env: str) -> Path:
        if env not in self.envs:
            raise PartError(
                "installation.no_environment",
                f"environment {env!r} is not installed; there are {sorted(self.envs)}",
                hint="run ./install again",
            )
        return Path(self.envs[env])

    def part(self, name: str) -> Path:
        if name not in self.parts:
            raise PartError(
                "installation.no_part",
                f"part {name!r} is not installed; there are {sorted(self.parts)}",
                hint="run ./install again",
            )
        return Path(self.parts[name])


def read(layout: Layout) -> Installation:
    """Read the installation record. Raises PartError when nothing is installed there."""
    path = layout.installation_file
    if not path.exists():
        raise PartError(
            "installation.missing",
            f"no appliance is installed: {path} does not exist",
            hint="run ./install, or set APPLIANCE_HOME to the folder given as --home",
        )
    return msgspec.json.decode(path.read_bytes(), type=Installation)
