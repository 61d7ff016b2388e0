"""``appliance config explain | check``: every setting, its unit and default, and which layer won."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from appliance import settings
from appliance.errors import UsageError
from appliance.layout import Layout

_UNITS = {
    "mib": "MiB", "ms": "ms", "us": "µs", "seconds": "s", "hours": "hours", "days": "days", "rows": "rows",
}  # fmt: skip


@dataclass(frozen=True)
class Explained:
    """One setting. layer: default, file or environment; where: the file or variable that can change it."""

    key: str
    value: Any
    default: Any
    unit: str
    layer: str


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs."""
    config = subparsers.add_parser("config", help="settings: what they are, and where each value comes from")
    verbs = config.add_subparsers(dest="config_verb", metavar="VERB", required=True)
    explain = verbs.add_parser("explain", help="settings with unit, default, and the layer that won")
    explain.add_argument(
        "key", nargs="?", metavar="KEY", help="a setting such as kafka.partitions, or a group such as kafka"
    )
    explain.add_argument("--json", action="store_true", help="answer as JSON")
    explain.set_defaults(run=_explain)
    check = verbs.add_parser("check", help="say whether the settings can be used")
    check.add_argument("--json", action="store_true", help="answer as JSON")
    check.set_defaults(run=_check)


def explained(layout: Layout) -> list[Explained]:
    """Every setting in effect. Raises SettingError if one cannot be used."""
    now, defaults = settings.load(layout.settings_file), settings.Settings()
    layers = {"environment": settings.from_environment(os.environ), "file": settings.from_file(layout.settings_file)}
    found = []
    for group in msgspec.structs.fields(settings.Settings):
        for field in msgspec.structs.fields(getattr(defaults, group.name)):
            layer = next(
                (name for name, tables in layers.items() if field.name in tables.get(group.name, {})), "default"
            )
            value, default = (getattr(getattr(each, group.name), field.name) for each in (now, defaults))
            unit = _UNITS.get(field.name.rpartition("_")[2], "")
            found.append(Explained(f"{group.name}.{field.name}", value, default, unit, layer))
    return found


def _explain(arguments: argparse.Namespace) -> int:
    layout = Layout.current()
    wanted = arguments.key
    found = [
        each for each in explained(layout) if not wanted or each.key == wanted or each.key.startswith(f"{wanted}.")
    ]
    if not found:
        raise UsageError("setting.unknown", f"there is no setting {wanted!r}", hint="appliance config explain")
    if arguments.json:
        sys.stdout.write(json.dumps([asdict(each) for each in found], indent=1) + "\n")
        return 0
    sys.stdout.write(f"{'setting':<40} {'value':>14} {'unit':<6} {'default':>14}  from\n")
    for each in found:
        sys.stdout.write(f"{each.key:<40} {each.value!s:>14} {each.unit:<6} {each.default!s:>14}  {each.layer}\n")
    group, _, key = found[0].key.partition(".")
    sys.stdout.write(
        f"To change one: `[{group}]` and `{key} = …` in {layout.settings_file}, "
        f"or the environment variable APPLIANCE_SETTING_{group.upper()}__{key.upper()}; then restart.\n"
    )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    layout = Layout.current()
    changed = [each for each in explained(layout) if each.layer != "default"]
    if arguments.json:
        sys.stdout.write(json.dumps({"valid": True, "changed": [each.key for each in changed]}) + "\n")
        return 0
    sys.stdout.write(f"every setting can be used; {len(changed)} differ from the defaults in {layout.settings_file}")
    sys.stdout.write(" or the environment\n")
    return 0
