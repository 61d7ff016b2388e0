"""A round in a small world: who is promoted, who goes back, and when a candidate is made."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from models.learning.decide import HOUR_US, Load
from models.learning.evidence import Pairs
from models.learning.limits import Learning
from models.learning.loop import step
from models.standing import Role, Shadow, Standing

_LIMITS = Learning(update_hours=12, update_rows=100, update_positives=5)


def _pairs(better: bool, positives: int = 30) -> Pairs:
    label = np.array([1] * positives + [0] * 300, np.int8)
    good, bad = np.where(label == 1, 0.8, 0.01), np.full(len(label), 0.01)
    return Pairs(label, bad, good) if better else Pairs(label, bad, bad)


class _World:
    """Remembers what was done. challenger_better, former_better: what the labels say."""

    def __init__(self, standing: Standing, *, challenger_better: bool = False, former_better: bool = False) -> None:
        self._standing = standing
        self._better = {1: former_better, 3: challenger_better}
        self.done: list[str] = []
        self.asked: list[tuple[int, int]] = []

    def standing(self) -> Standing:
        return self._standing

    def newest_label(self) -> int:
        return 20 * HOUR_US

    def pairs(self, shadow: Shadow, until: int) -> Pairs:
        self.asked.append((shadow.version, until))
        return _pairs(self._better.get(shadow.version, False))

    def loads(self, role: Role) -> tuple[Load, Load]:
        return Load(0.1, 1.0), Load(0.1, 1.0)

    def fresh(self, since: int) -> tuple[int, int]:
        return 1_000, 50

    def promote(self, version: int, why: str, figures: dict[str, Any]) -> None:
        self.done.append(f"promote {version}")
        self._standing = msgspec.structs.replace(self._standing, challenger=None, former=Shadow(2, 20 * HOUR_US))

    def back(self, why: str, figures: dict[str, Any]) -> None:
        self.done.append("back")
        self._standing = msgspec.structs.replace(self._standing, challenger=None, former=None)

    def drop(self, role: Role, why: str, figures: dict[str, Any]) -> None:
        self.done.append(f"drop {role}")
        self._standing = self._standing.without(role)

    def make_candidate(self, cutoff: int) -> None:
        self.done.append(f"candidate {cutoff // HOUR_US}")


_CHALLENGER, _FORMER = Shadow(3, 10 * HOUR_US), Shadow(1, 10 * HOUR_US)


def _acts(world: _World) -> list[str]:
    step(world, _LIMITS)
    return world.done


def test_a_better_challenger_is_promoted_and_the_next_candidate_waits_its_time() -> None:
    world = _World(Standing(challenger=_CHALLENGER, cutoff=10 * HOUR_US), challenger_better=True)
    assert _acts(world) == ["promote 3"]


def test_a_former_that_was_better_serves_again() -> None:
    world = _World(Standing(former=_FORMER, challenger=_CHALLENGER, cutoff=10 * HOUR_US), former_better=True)
    assert _acts(world) == ["back"], "the challenger goes with the champion that it was made of"


def test_an_undecided_challenger_stays_and_gives_way_to_a_newer_one_in_the_same_test() -> None:
    assert _acts(_World(Standing(challenger=_CHALLENGER, cutoff=10 * HOUR_US))) == []
    assert _acts(_World(Standing(challenger=_CHALLENGER, cutoff=8 * HOUR_US))) == ["candidate 20"]


def test_labels_speak_for_the_challenger_of_their_time() -> None:
    earlier = (Shadow(4, 0), Shadow(5, 4 * HOUR_US))
    world = _World(Standing(challenger=_CHALLENGER, earlier=earlier, cutoff=10 * HOUR_US), challenger_better=True)
    assert _acts(world) == ["promote 3"]
    assert world.asked == [(4, 4 * HOUR_US), (5, 10 * HOUR_US), (3, 20 * HOUR_US)]


def test_without_a_challenger_a_candidate_is_made_when_it_is_due() -> None:
    assert _acts(_World(Standing(cutoff=8 * HOUR_US))) == ["candidate 20"]
    assert _acts(_World(Standing(cutoff=9 * HOUR_US))) == []


def test_an_old_undecided_one_gives_way_to_the_next_in_the_same_round() -> None:
    world = _World(Standing(challenger=Shadow(3, -30 * HOUR_US), cutoff=-5 * HOUR_US))
    assert _acts(world) == ["drop challenger", "candidate 20"]


def test_frozen_or_off_line_nothing_is_done() -> None:
    for standing in (Standing(frozen=True, challenger=_CHALLENGER), Standing(offline=True)):
        assert _acts(_World(standing, challenger_better=True)) == []
