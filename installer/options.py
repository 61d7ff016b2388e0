"""The options of ``./install``."""

from __future__ import annotations

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

from appliance.layout import Layout
from appliance.ports import DEFAULT_BASE, Port

DEFAULT_CACHE = Path("/var/cache/appliance")
SYSTEM_USER = "appliance"


@dataclass(frozen=True)
class Options:
    """home: None for the system's folders. sample_data: a file of payments, None for the project's generator.

    sample_profile: size of the generated sample, None for the scenario's default.
    history_until: payments before this date are loaded before the connector starts.
    """

    home: Path | None
    port_base: int
    scenario: str
    plan: bool
    yes: bool
    cache: Path
    sample_data: Path | None
    sample_profile: str | None
    history_until: str | None

    @property
    def layout(self) -> Layout:
        return Layout.below(self.home) if self.home else Layout.system()

    @property
    def command(self) -> Path:
        """The appliance command that the user will call."""
        return self.layout.bin / "appliance"


def _date(text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise argparse.ArgumentTypeError(f"expected a date such as 2018-08-15, got {text!r}")
    return text


def _port_base(text: str) -> int:
    highest = 65535 - max(Port)
    if not text.isdecimal() or not 1024 <= int(text) <= highest:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1024 to {highest}, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="./install",
        description="Installs the appliance on Debian 12, starts it and runs a scenario. It can be interrupted and run "
        "again; a second run changes nothing.",
    )
    parser.add_argument("--home", type=Path, metavar="DIR", help="keep everything of this appliance below one folder")
    parser.add_argument("--port-base", type=_port_base, default=DEFAULT_BASE, metavar="N",
                        help=f"first of {max(Port) + 1} ports in a row (default {DEFAULT_BASE})")  # fmt: skip
    parser.add_argument("--scenario", default="card_fraud", metavar="NAME", help="default card_fraud")
    parser.add_argument("--plan", action="store_true", help="say what would happen, check the machine, touch nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--cache", type=Path, metavar="DIR",
                        default=Path(os.environ.get("APPLIANCE_CACHE", DEFAULT_CACHE)),
                        help=f"downloads and environments, shared by homes (default {DEFAULT_CACHE})")  # fmt: skip
    parser.add_argument("--sample-data", type=Path, metavar="FILE", help="a Parquet file of payments instead of the "
                        "generated ones")  # fmt: skip
    parser.add_argument("--sample-profile", metavar="NAME", help="size of the generated sample, such as small")
    parser.add_argument("--history-until", type=_date, metavar="DATE", help="with --sample-data: payments before this "
                        "date (UTC) are there before the appliance is connected")  # fmt: skip
    return parser


def parse(arguments: list[str] | None = None) -> Options:
    """The options; ends the process with a usage message if they do not fit."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.sample_data is not None and not given.sample_data.is_file():
        parser.error(f"--sample-data: there is no file {given.sample_data}")
    if given.sample_data is not None and given.sample_profile is not None:
        parser.error("--sample-profile is for the generated sample; it cannot be given with --sample-data")
    return Options(
        home=given.home.absolute() if given.home else None,
        port_base=given.port_base,
        scenario=given.scenario,
        plan=given.plan,
        yes=given.yes,
        cache=given.cache.absolute(),
        sample_data=given.sample_data.absolute() if given.sample_data else None,
        sample_profile=given.sample_profile,
        history_until=given.history_until,
    )
