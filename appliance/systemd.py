"""The systemd unit, for machines where systemd runs and root installs. Elsewhere supervisord is started by ``up``."""

from __future__ import annotations

from pathlib import Path

from appliance.installation import Installation
from appliance.layout import Layout

_UNIT = """\
[Unit]
Description=Feature appliance ({etc})
After=network.target local-fs.target

[Service]
Type=forking
User={user}
PIDFile={run}/supervisord.pid
ExecStart={command} up
ExecStop={command} down
TimeoutStartSec=1200
TimeoutStopSec=300
Restart=on-failure
RestartSec=5
KillMode=mixed
UMask=0077
NoNewPrivileges=true
ProtectSystem=full
ReadWritePaths={etc}
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""


def here() -> bool:
    """Whether systemd runs this machine."""
    return Path("/run/systemd/system").is_dir()


def unit(layout: Layout, installation: Installation) -> str:
    """Text of the unit: it starts at boot and brings everything back if supervisord itself ends."""
    return _UNIT.format(etc=layout.etc, user=installation.user, run=layout.run, command=layout.bin / "appliance")
