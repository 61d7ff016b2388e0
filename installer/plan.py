"""What an installation would do on this machine, found out without changing anything."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from appliance.ports import Port
from installer import debian, environments, home, inventory, machine, registries
from installer.errors import InstallError, RefusedFileError
from installer.machine import Check
from installer.options import SYSTEM_USER, Options
from installer.store import Store
from installer.tools import CacheTools


@dataclass
class Plan:
    """places: ``envs/NAME`` and ``parts/NAME`` that are not in the cache yet. remarks: on Debian packages."""

    options: Options
    packages: tuple[debian.Package, ...] = ()
    places: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    debian_bytes: int = 0

    @property
    def fresh(self) -> bool:
        """Whether there is no appliance in this home yet."""
        return not self.options.layout.installation_file.exists()


def missing_places(store: Store) -> list[str]:
    """Environments and parts that the cache does not hold yet."""
    tools = CacheTools(store)
    places = [(f"envs/{name}", store.place("envs", name, environments.digest(name)))
              for name in ("tools", *environments.NAMES)]  # fmt: skip
    places += [(f"parts/{name}", store.place("parts", name, tools.part_digest(name))) for name in tools.parts]
    return [name for name, place in places if not place.is_dir()]


def _debian(plan: Plan) -> None:
    """What the archive offers for the packages that are missing, judged."""
    if not plan.packages:
        return
    expected = "apt-get reads the archive"
    with debian.archive() as archive:
        try:
            archive.update()
            offers = archive.offers(plan.packages)
            plan.debian_bytes = archive.download_bytes(plan.packages)
        except InstallError as error:
            last = [line.strip() for line in error.message.splitlines() if line.strip()][-1]
            plan.checks.append(Check("Debian archive", False, expected, last, error.hint))
            return
    plan.checks.append(Check("Debian archive", True, expected, "reached"))
    for package in plan.packages:
        try:
            remark = debian.judge(package, offers.get(package.name))
        except RefusedFileError as error:
            plan.checks.append(
                Check(f"Debian package {package.name}", False, package.version, error.message, error.hint)
            )
        else:
            plan.remarks += [remark] if remark else []


def make(options: Options) -> Plan:
    """Look at the machine. Only temporary folders are written, and removed again."""
    plan = Plan(options, checks=[machine.debian(), machine.architecture(), machine.root()])
    if not all(check.good for check in plan.checks[:2]):
        return plan
    there = debian.installed(debian.wanted())
    plan.packages = tuple(package for package in debian.wanted() if package.name not in there)
    plan.places = missing_places(Store(options.cache))
    layout = options.layout
    system = inventory.disk_mib(["debian"]) if plan.packages else 0
    data = inventory.DATA_MIB if plan.fresh else 0
    plan.checks += machine.disk(
        {options.cache: inventory.disk_mib(plan.places), layout.data: data, Path("/usr"): system}
    )
    available = 0 if machine.running(layout.etc) else inventory.MEMORY_AVAILABLE_MIB
    plan.checks += machine.memory(inventory.MEMORY_TOTAL_MIB, available)
    plan.checks += [machine.loopback(), *machine.ports(options.port_base, layout)]
    plan.checks += [home.reachable(layout.data.parent), home.reachable(options.cache)]
    _debian(plan)
    if any(place.startswith("envs/") for place in plan.places):
        plan.checks.append(registries.python_index())
    if any(place.startswith("parts/") for place in plan.places):
        plan.checks.append(registries.maven_repository())
    return plan


def text(plan: Plan) -> str:
    """The plan for a person."""
    options, layout = plan.options, plan.options.layout
    lines = [f"The appliance with the scenario {options.scenario}", "", "Parts"]
    lines += [f"  {title:34} {version}" for title, version in inventory.versions()]
    lines += ["", "Folders"]
    lines += [f"  {name:10} {folder}" for name, folder in (
        ("code", layout.code), ("settings", layout.etc), ("data", layout.data), ("logs", layout.logs),
        ("run", layout.run), ("command", options.command), ("cache", options.cache))]  # fmt: skip
    if options.home is None:
        lines.append("  command    /usr/local/bin/appliance")
    names = " ".join(package.name for package in plan.packages) or "all there already"
    download = inventory.download_mib(plan.places) + plan.debian_bytes // (1024 * 1024)
    disk = inventory.disk_mib(plan.places) + (inventory.disk_mib(["debian"]) if plan.packages else 0)
    lines += [
        "", "Machine",
        f"  Debian packages to install  {names}",
        f"  system user                 {SYSTEM_USER}{'' if home.user_id() is None else ' (there already)'}",
        f"  ports                       {options.port_base} to {options.port_base + max(Port)}, on 127.0.0.1",
        f"  memory when it runs         up to {inventory.MEMORY_RESIDENT_MIB // 1024} GiB resident",
        f"  to download                 about {download:,} MiB",
        f"  disk                        about {disk:,} MiB, and {inventory.DATA_MIB:,} MiB of room for data",
        f"  still to build in the cache {', '.join(plan.places) or 'nothing'}",
    ]  # fmt: skip
    lines += [f"  note: {remark}" for remark in plan.remarks]
    lines += ["", "Checks"]
    lines += [f"  {'ok  ' if c.good else 'FAIL'} {c.name}: {c.got}" for c in plan.checks]
    return "\n".join(lines)
