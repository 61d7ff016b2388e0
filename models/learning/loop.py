"""One round of the loop: what has been learned of the versions in shadow, what follows, and whether a candidate is due.

The live loop (``models.learning.live``) and the bench on simulated payments (``tests/bench/bench_learning.py``) are two
worlds for the same round.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from models.learning import decide
from models.learning.decide import Load, Verdict
from models.learning.evidence import Evidence, Pairs, together, weigh
from models.learning.limits import Learning
from models.standing import Role, Shadow, Standing


class World(Protocol):
    """What a round sees and does. Times are µs UTC."""

    def standing(self) -> Standing:
        """Who is in shadow now."""

    def newest_label(self) -> int:
        """Since when the newest settled label is known; 0 if there is none."""

    def pairs(self, shadow: Shadow, until: int) -> Pairs:
        """Events whose label is known in (the shadow's cutoff, until], with the champion's score and its own."""

    def loads(self, role: Role) -> tuple[Load, Load]:
        """What the champion and the version in shadow mean for serving."""

    def fresh(self, since: int) -> tuple[int, int]:
        """Rows with a label known after ``since``, and positives among them."""

    def promote(self, version: int, why: str, figures: dict[str, Any]) -> None:
        """Make the challenger the champion."""

    def back(self, why: str, figures: dict[str, Any]) -> None:
        """Make the champion before the champion again."""

    def drop(self, role: Role, why: str, figures: dict[str, Any]) -> None:
        """Take a version out of shadow."""

    def make_candidate(self, cutoff: int) -> None:
        """Let an updated version be made of the labels known up to ``cutoff`` and put into shadow."""


class Done(msgspec.Struct, frozen=True):
    """A thing a round has found or done, for the log and the record of acts."""

    act: str
    why: str
    figures: dict[str, Any]


def step(world: World, limits: Learning) -> list[Done]:
    """One round. Looking more often decides sooner and never more wrongly: the test allows it."""
    if world.standing().frozen or world.standing().offline:
        return []
    newest = world.newest_label()
    done = _former(world, newest, limits)
    done += _challenger(world, newest, limits)
    standing = world.standing()
    rows, positives = world.fresh(standing.cutoff)
    if decide.update_due(standing.cutoff, newest, rows, positives, limits):
        world.make_candidate(newest)
        done.append(Done("candidate", f"{rows} new labels, {positives} positive", {"cutoff": newest}))
    return done


def _figures(evidence: Evidence, champion: Load, other: Load) -> dict[str, Any]:
    return {
        "evidence": msgspec.to_builtins(evidence),
        "champion": msgspec.to_builtins(champion),
        "in_shadow": msgspec.to_builtins(other),
    }


def _former(world: World, newest: int, limits: Learning) -> list[Done]:
    shadow = world.standing().former
    if shadow is None:
        return []
    evidence = weigh(world.pairs(shadow, newest))
    verdict = decide.of_former(evidence, newest - shadow.cutoff, limits)
    figures = _figures(evidence, *world.loads("former"))
    if verdict.act == "back":
        world.back(verdict.why, figures)
    elif verdict.act == "drop":
        world.drop("former", verdict.why, figures)
    return [_done("former", verdict, figures)]


def _challenger(world: World, newest: int, limits: Learning) -> list[Done]:
    campaign = world.standing().campaign
    if not campaign:
        return []
    shadow = campaign[-1]
    ends = [*(each.cutoff for each in campaign[1:]), newest]
    found = [world.pairs(each, end) for each, end in zip(campaign, ends, strict=True)]
    evidence, own = weigh(together(found)), weigh(found[-1])
    champion, challenger = world.loads("challenger")
    verdict = decide.of_challenger(evidence, own, champion, challenger, newest - campaign[0].cutoff, limits)
    figures = _figures(evidence, champion, challenger)
    if verdict.act == "promote":
        world.promote(shadow.version, verdict.why, figures)
    elif verdict.act == "drop":
        world.drop("challenger", verdict.why, figures)
    return [_done("challenger", verdict, figures)]


def _done(role: Role, verdict: Verdict, figures: dict[str, Any]) -> Done:
    return Done(f"{role}.{verdict.act}", verdict.why, figures)
