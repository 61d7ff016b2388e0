"""The order in which parts start, and what happens when one fails."""

from __future__ import annotations

import time

import pytest

from appliance import registry
from appliance.errors import NotReadyError, PartError
from appliance.keeper import Patience
from appliance.lifecycle import _in_order
from appliance.parts.base import BasePart, Context, Process


class _Named(BasePart):
    ready_timeout_seconds = 10

    def __init__(self, name: str, *needs: str) -> None:
        self.name, self.needs = name, needs

    def process(self, context: Context) -> Process:
        return Process(("/bin/true",))

    def ready(self, context: Context) -> None:
        """Always."""


PARTS = {part.name: part for part in (_Named("a"), _Named("b", "a"), _Named("c", "b", "a"), _Named("lone"))}


def test_needs_come_first_and_only_they_are_added() -> None:
    assert list(registry.with_needs(["c"], PARTS.__getitem__)) == ["a", "b", "c"]


def test_a_circle_is_refused_by_name() -> None:
    circle = {part.name: part for part in (_Named("x", "y"), _Named("y", "x"))}
    with pytest.raises(PartError, match="x → y → x"):
        registry.with_needs(["x"], circle.__getitem__)


def test_work_waits_for_what_it_comes_after_and_independent_work_runs_side_by_side() -> None:
    began: dict[str, float] = {}
    ended: dict[str, float] = {}

    def work(name: str) -> float:
        began[name] = time.monotonic()
        time.sleep(0.05)
        ended[name] = time.monotonic()
        return ended[name] - began[name]

    done = _in_order({"a": set(), "lone": set(), "b": {"a"}, "c": {"b", "lone"}}, work, 3)
    assert done.keys() == {"a", "lone", "b", "c"}
    assert began["b"] >= ended["a"]
    assert began["c"] >= max(ended["b"], ended["lone"])
    assert began["lone"] < ended["a"]


def test_after_a_failure_nothing_new_begins_and_the_failure_is_raised() -> None:
    begun: list[str] = []

    def work(name: str) -> float:
        begun.append(name)
        if name == "a":
            raise NotReadyError("test", "a is not ready")
        return 0.0

    with pytest.raises(NotReadyError, match="a is not ready"):
        _in_order({"a": set(), "b": {"a"}, "c": {"b"}}, work, 1)
    assert begun == ["a"]


def test_the_keeper_blames_a_part_only_after_its_time_and_only_if_its_needs_are_ready() -> None:
    patience = Patience()
    parts = {name: PARTS[name] for name in ("a", "b")}
    sick, healthy = {"a": "", "b": "hangs"}, {"a": "", "b": ""}
    assert patience.overdue(parts, sick, 0) == []
    assert patience.overdue(parts, sick, 15) == []
    assert patience.overdue(parts, sick, 15.1) == ["b"]
    assert patience.overdue(parts, sick, 16) == [], "after a restart its time begins again"
    assert patience.overdue(parts, healthy, 20) == []
    assert patience.overdue(parts, sick, 30) == []
    assert patience.overdue(parts, {"a": "down", "b": "hangs"}, 40) == []
    assert patience.overdue(parts, sick, 50) == [], "b could not be ready while a was down"
