"""Lay-downs and the inventory: every part is addressed, ordered, and named with the version of its lock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installer import inventory, locks, sums
from installer.errors import InstallError, LockFileError
from installer.inventory import Item
from installer.store import Store
from installer.tools import CacheTools, _ordered, lay_downs


@dataclass
class _Part:
    AFTER: tuple[str, ...] = ()


def test_each_part_comes_after_what_it_needs() -> None:
    parts: dict[str, Any] = {"a": _Part(("c",)), "b": _Part(), "c": _Part(("b",))}
    assert list(_ordered(parts)) == ["b", "c", "a"]


def test_a_circle_is_refused() -> None:
    parts: dict[str, Any] = {"a": _Part(("b",)), "b": _Part(("a",))}
    with pytest.raises(InstallError, match="wait for each other"):
        _ordered(parts)


def test_every_part_has_an_address_of_its_own(tmp_path: Path) -> None:
    tools = CacheTools(Store(tmp_path))
    digests = [tools.part_digest(name) for name in lay_downs()]
    assert len(digests) >= 7
    assert len(set(digests)) == len(digests)
    assert list(tmp_path.iterdir()) == []


def test_every_maven_lock_lists_hashed_files_and_its_pom_names_no_address() -> None:
    for pom in locks.MAVEN.glob("*.xml"):
        assert sums.read(pom.with_suffix(".sha256"))
        addresses = re.findall(r"https?://([^/\"\s]+)", pom.read_text())
        assert set(addresses) <= {"maven.apache.org", "www.w3.org"}, pom.name


def test_the_inventory_finds_every_version_in_its_lock() -> None:
    found = dict(inventory.versions())
    assert found["Apache Flink"].startswith("2.")
    assert len(found) == len(inventory.ITEMS)


def test_an_item_that_its_lock_does_not_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text("other==1\n")
    with pytest.raises(LockFileError):
        inventory.version(Item("Thing", "x.txt", r"thing==(\S+)"), tmp_path)
