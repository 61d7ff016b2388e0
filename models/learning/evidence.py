"""Is one model better than another? A test that may be looked at after every label.

For each event with a label that neither model had learned from, d = (champion's squared error) - (challenger's), in
[-1, 1]: the Brier score is proper, so a better d means better probabilities. A gambler who bets the share l of the
fortune on d > 0 has the wealth product(1 + l d) after the events so far; while the challenger is not better on average,
that is a nonnegative supermartingale, so the chance that it *ever* reaches 1/a is at most a (Ville's inequality). The
mean of the wealths of several l is one too and needs no l to be chosen. So one may look after every label and stop at
will, and the order of events changes nothing. The challenger may be changed on the way, as long as each event is scored
by one that was made before its label was known: what is tested is then that none of them is better.

Waudby-Smith and Ramdas, *Estimating means of bounded random variables by betting*, JRSS-B 2024 (diversified Kelly
betting); Choe and Ramdas, *Comparing sequential forecasters*, Operations Research 2024 (the same for forecasters).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

BETS = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9)
"""Shares that are bet. A small one grows on many small advantages, a large one on few large ones."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Events with a label that neither model had learned from, all arrays [n]. label: 0 or 1. Scores are 0 … 1."""

    label: npt.NDArray[np.int8]
    champion: Floats
    challenger: Floats


def together(several: Sequence[Pairs]) -> Pairs:
    """The pairs of challengers that took one another's place, each with the labels of its own time."""
    return Pairs(
        np.concatenate([each.label for each in several]),
        np.concatenate([each.champion for each in several]),
        np.concatenate([each.challenger for each in several]),
    )


class Evidence(msgspec.Struct, frozen=True):
    """better, worse: e-values that the challenger is better, is worse than the champion. brier_*: mean squared errors.

    calibration_*: (expected positives - positives) / positives on these events.
    """

    rows: int
    positives: int
    better: float
    worse: float
    brier_champion: float
    brier_challenger: float
    calibration_champion: float
    calibration_challenger: float


def e_value(advantages: Floats) -> float:
    """Mean wealth of the gamblers after these advantages [n] in [-1, 1]; infinite where it overflows."""
    wealth = [float(np.log1p(bet * advantages).sum()) for bet in BETS]
    highest = max(wealth)
    if highest > 700:
        return math.inf
    return sum(math.exp(one) for one in wealth) / len(BETS)


def weigh(pairs: Pairs) -> Evidence:
    """The evidence of these pairs; e-values of 1 where there are none."""
    rows, positives = len(pairs.label), int(pairs.label.sum())
    champion, challenger = ((scores - pairs.label) ** 2 for scores in (pairs.champion, pairs.challenger))

    def off(scores: Floats) -> float:
        return float(scores.sum() - positives) / max(positives, 1)

    return Evidence(
        rows,
        positives,
        e_value(champion - challenger),
        e_value(challenger - champion),
        float(champion.mean()) if rows else 0.0,
        float(challenger.mean()) if rows else 0.0,
        off(pairs.champion),
        off(pairs.challenger),
    )
