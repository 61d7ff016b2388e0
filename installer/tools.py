"""What a lay-down is given: verified third-party files, environments, parts laid down before it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import cast

from installer import environments, laydown, locks, maven
from installer.errors import InstallError
from installer.laydown.base import LayDown
from installer.store import Store, address


def lay_downs() -> dict[str, LayDown]:
    """Part name → its module in ``installer/laydown``, each after those it needs."""
    found: dict[str, LayDown] = {}
    for info in pkgutil.iter_modules(laydown.__path__):
        module = importlib.import_module(f"{laydown.__name__}.{info.name}")
        if hasattr(module, "NAME"):
            found[module.NAME] = cast(LayDown, module)
    return _ordered(found)


def _ordered(found: dict[str, LayDown]) -> dict[str, LayDown]:
    ordered: dict[str, LayDown] = {}
    while len(ordered) < len(found):
        ready = [name for name in sorted(found) if name not in ordered and set(found[name].AFTER) <= ordered.keys()]
        if not ready:
            left = {name: found[name].AFTER for name in sorted(found.keys() - ordered.keys())}
            raise InstallError("laydown.order", f"lay-downs wait for each other or for one that is not there: {left}")
        ordered.update({name: found[name] for name in ready})
    return ordered


@dataclass
class CacheTools:
    """``installer.laydown.base.Tools`` over one cache. Everything asked for is built on first use."""

    store: Store
    say: Callable[[str], None] = lambda _: None
    parts: dict[str, LayDown] = field(default_factory=lay_downs)

    def maven(self, lock: str, target: Path) -> None:
        maven.fetch(lock, self.store.maven, target)

    def pypi(self, lock: str, target: Path) -> None:
        environments.unpack(lock, target, self.uv, self.store.root)

    def environment(self, name: str) -> Path:
        place = self.store.place("envs", name, environments.digest(name))
        if place.is_dir():
            return place
        uv = self.uv
        self.say(f"building the Python environment {name}")
        return self.store.build(
            "envs",
            name,
            environments.digest(name),
            lambda folder: environments.build(name, folder, uv, self.store.root),
        )

    def part(self, name: str) -> Path:
        part = self._module(name)
        place = self.store.place("parts", name, self.part_digest(name))
        if place.is_dir():
            return place
        for needed in part.ENVIRONMENTS:
            self.environment(needed)
        for needed in part.AFTER:
            self.part(needed)
        self.say(f"laying down {name}")
        return self.store.build("parts", name, self.part_digest(name), lambda folder: part.lay_down(self, folder))

    @property
    def tools(self) -> Path:
        """The tools environment (uv, hatchling)."""
        return self.store.build("envs", "tools", environments.digest("tools"), environments.build_tools)

    @property
    def uv(self) -> Path:
        return self.tools / "bin" / "uv"

    def _module(self, name: str) -> LayDown:
        if name not in self.parts:
            raise InstallError("laydown.unknown", f"there is no part {name!r}; there are {sorted(self.parts)}")
        return self.parts[name]

    def part_digest(self, name: str) -> str:
        """Address of a part: its module, locks and resources, and what it is laid down after."""
        part = self._module(name)
        module = Path(cast(str, cast(ModuleType, part).__file__))
        pieces = [module.read_bytes()]
        pieces += [self._content(locks.FOLDER / lock) for lock in part.LOCKS]
        pieces += [self._content(module.parent / resource) for resource in part.RESOURCES]
        pieces += [self.part_digest(needed).encode() for needed in part.AFTER]
        pieces += [environments.digest(needed).encode() for needed in part.ENVIRONMENTS]
        return address(pieces)

    @staticmethod
    def _content(path: Path) -> bytes:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file() and "__pycache__" not in file.parts)
            return b"".join(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes() for file in files)
        if not path.exists():
            raise InstallError("laydown.missing", f"{path}, which a lay-down names, is not there")
        return path.read_bytes()
