"""``./install``: plan, check, ask, then one step after the other."""

from __future__ import annotations

import os
import sys
import tempfile
import tomllib
from pathlib import Path

from appliance.errors import ApplianceError
from installer import boot, code, debian, environments, home, kernel, machine, options, plan, scenario
from installer.options import Options
from installer.plan import Plan
from installer.progress import Progress, ask
from installer.store import Store
from installer.tools import CacheTools

CHECKOUT = Path(__file__).resolve().parent.parent


def _version() -> str:
    with (CHECKOUT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["version"])


def _cache_steps(tools: CacheTools, progress: Progress, missing: list[str]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Build what the cache does not hold. Returns the environments and the parts."""
    envs, parts = {}, {}
    for name in ("tools", *environments.NAMES):
        title = f"Python environment {name}"
        if f"envs/{name}" in missing:
            with progress.step(title):
                place = tools.tools if name == "tools" else tools.environment(name)
        else:
            progress.kept(title)
            place = tools.store.place("envs", name, environments.digest(name))
        if name != "tools":
            envs[name] = place
    for name in tools.parts:
        if f"parts/{name}" in missing:
            with progress.step(f"part {name}"):
                parts[name] = tools.part(name)
        else:
            progress.kept(f"part {name}")
            parts[name] = tools.part(name)
    return envs, parts


def _code_step(settings: Options, tools: CacheTools, progress: Progress) -> bool:
    """Lay our own packages into the home. Returns whether they changed."""
    title = "our own packages"
    with tempfile.TemporaryDirectory() as folder:
        wheel = code.build(CHECKOUT, tools.tools, Path(folder))
        if code.current(settings.layout.code, wheel):
            progress.kept(title)
            laid = code.lay(wheel, settings.layout.code)
        else:
            with progress.step(title):
                laid = code.lay(wheel, settings.layout.code)
    if laid.kept:
        progress.note(f"kept as you edited them: {', '.join(laid.kept)}")
    if laid.conflicts:
        progress.note(f"new in this version, laid beside yours as *.new: {', '.join(laid.conflicts)}")
    return laid.changed


def _start(settings: Options, progress: Progress, python: Path, changed: bool, ran_before: bool) -> None:
    """Start every part, through systemd where it runs; after a change of code or parts, stop the old ones first."""
    unit = boot.text(settings, python) if boot.wanted(settings) else None
    if not changed and (unit is None or boot.installed(unit)) and scenario.running(settings.command):
        progress.kept("starting every part")
        return
    with progress.step("starting every part"):
        if ran_before and changed:
            scenario.call(settings.command, ("down",))
        if unit is not None:
            boot.install(unit)
            boot.start()
        scenario.call(settings.command, ("up",))


def install(found: Plan) -> None:
    """Do every step that is not done yet."""
    settings = found.options
    store = Store(settings.cache)
    ran_before = not found.fresh
    total = 1 + 1 + 1 + len(environments.NAMES) + len(CacheTools(store).parts) + 1 + 1 + 1 + 1 + scenario.STEPS
    progress = Progress(total)
    if found.packages:
        with progress.step(f"Debian packages: {' '.join(package.name for package in found.packages)}"):
            debian.install(found.packages)
    else:
        progress.kept("Debian packages")
    if home.folders_made(settings.layout):
        progress.kept("system user and folders")
    else:
        with progress.step("system user and folders"):
            home.make_user()
            home.make_folders(settings.layout)
    with store.lock(progress.note):
        tools = CacheTools(store, progress.note)
        envs, parts = _cache_steps(tools, progress, plan.missing_places(store))
    changed = _code_step(settings, tools, progress)
    record = home.Record(_version(), settings, envs, parts)
    if home.recorded(record):
        progress.kept("installation record and the appliance command")
    else:
        changed = True
        with progress.step("installation record and the appliance command"):
            home.write_record(record)
    if changed:
        with progress.step("compiling the reads of features"):
            kernel.compile_reads(settings.layout, envs["serving"] / "bin" / "python")
    else:
        progress.kept("compiling the reads of features")
    _start(settings, progress, envs["serving"] / "bin" / "python", changed, ran_before)
    scenario.run(settings, progress)
    progress.line(f"\n{progress.summary()}")


def main() -> int:
    os.umask(0o022)
    settings = options.parse()
    for name in ("PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH"):  # of the borrowed Python; nothing for who is called
        os.environ.pop(name, None)
    try:
        found = plan.make(settings)
        print(plan.text(found), flush=True)
        unfit = machine.failed(found.checks)
        if unfit:
            raise unfit
        if settings.plan:
            print("\nThis was the plan; nothing was changed.")
            return 0
        print(flush=True)
        nothing_new = not found.packages and not found.places and not found.fresh
        if not (settings.yes or nothing_new or ask("Install this?")):
            print("Nothing was changed.")
            return 1
        install(found)
        scenario.call(settings.command, ("report",))
    except ApplianceError as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run ./install again: it goes on where it stopped.", file=sys.stderr)
        return 130
    return 0
