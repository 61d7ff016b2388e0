"""Starting the appliance with the machine, where systemd runs it and root installs without ``--home``."""

from __future__ import annotations

import os
from pathlib import Path

from installer.options import Options
from installer.run import run

UNIT = Path("/etc/systemd/system/appliance.service")
_TEXT = """
import sys
from appliance import context, systemd
current = context.current()
sys.stdout.write(systemd.unit(current.layout, current.installation))
"""


def wanted(settings: Options) -> bool:
    """Whether a unit belongs to this installation."""
    return settings.home is None and Path("/run/systemd/system").is_dir()


def text(settings: Options, python: Path) -> str:
    """The unit as the installed code writes it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("APPLIANCE_")}
    environment["PYTHONPATH"] = str(settings.layout.code)
    return run([python, "-P", "-s", "-c", _TEXT], "writing the systemd unit", environment=environment)


def installed(unit: str) -> bool:
    """Whether this unit is there already."""
    return UNIT.exists() and UNIT.read_text() == unit


def install(unit: str) -> None:
    """Write the unit and have systemd start it at boot."""
    new = UNIT.with_name(".appliance.service.new")
    new.write_text(unit)
    new.rename(UNIT)
    run(["systemctl", "daemon-reload"], "reading the systemd unit")
    run(["systemctl", "enable", "--quiet", UNIT.name], "enabling the systemd unit")


def start() -> None:
    """Have systemd start the appliance, so that it belongs to its unit. Returns when every part is ready."""
    run(["systemctl", "start", UNIT.name], "starting the appliance", hint=f"journalctl -u {UNIT.name}")
