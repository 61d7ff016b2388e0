"""Parts and commands are found through entry points, so that the base imports no room above it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from appliance.errors import PartError, UsageError
from appliance.parts.base import Part

PARTS = "appliance.parts"
COMMANDS = "appliance.commands"


def _load(point: EntryPoint) -> Any:
    try:
        return point.load()
    except ImportError as error:
        raise PartError(
            "registry.broken",
            f"{point.group} {point.name!r} names {point.value}, which cannot be imported: {error}",
            hint="run ./install again",
        ) from error


def part_names() -> list[str]:
    """Names of all registered parts, sorted."""
    return sorted(point.name for point in entry_points(group=PARTS))


def part(name: str) -> Part:
    """The part of that name. Raises UsageError when there is none, PartError when its code cannot be imported."""
    for point in entry_points(group=PARTS):
        if point.name == name:
            found: Part = _load(point)()
            return found
    raise UsageError("part.unknown", f"there is no part {name!r}", hint=f"parts are: {', '.join(part_names())}")


def with_needs(names: Iterable[str], find: Callable[[str], Part] = part) -> dict[str, Part]:
    """The named parts and everything they need, each after what it needs. Raises PartError on a circle."""
    ordered: dict[str, Part] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise PartError("part.circle", f"parts need each other in a circle: {' → '.join((*path, name))}")
        if name in ordered:
            return
        found = find(name)
        for need in found.needs:
            visit(need, (*path, name))
        ordered[name] = found

    for name in names:
        visit(name, ())
    return ordered


def commands() -> list[tuple[str, Callable[[], Callable[[Any], None]]]]:
    """(name, loader of the register function) of every command module."""
    points = sorted(entry_points(group=COMMANDS), key=lambda point: point.name)
    return [(point.name, partial(_load, point)) for point in points]
