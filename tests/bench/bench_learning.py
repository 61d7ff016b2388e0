"""The learning loop on replayed payments in which a new kind of fraud begins, and on payments in which none does.

    python -m tests.bench.bench_learning --data FOLDER --training ENVIRONMENT [--kind 3] [--seeds 5] [--out DIR]

Without an appliance: the round (``models.learning.loop``), the test, the guard rails, the gate and the training process
are those of the live loop; features are those of the book's method, labels are known 7 days after their payment.

Drift: payments of the fraud scenario ``--kind`` before the day ``BEGINS`` are left out, so that the first version has
never seen it. A round every scenario hour, from the first labels of the new kind on. After 3 days the version
served, the first one and one trained from nothing on everything known by then are judged on the 7 days that follow:
average precision on the new kind (its frauds against genuine payments) and on the old kinds.
No drift: the same rounds on the payments as they are. Every promotion is judged on the 7 days that follow it.
The same pairs of scores with the roles of the two models thrown at random for each payment (so that neither is better)
say how often the test promotes without a reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from feature_repo.card_fraud.policy import POLICY
from models import recipe as recipes
from models.learning.evidence import BETS
from models.learning.loop import step
from models.metrics import average_precision
from models.recipe import Recipe
from models.split import DAY_US
from tests.bench import learning_data, machine
from tests.bench.learning_data import LABEL_DELAY_US, Replay
from tests.bench.learning_world import Floats, Lab, Replayed, Version

BEGINS, UNTIL = "2018-07-15", "2018-08-20"
_TRAIN_DAYS, _RECOVERY_DAYS, _CALM_DAYS, _JUDGED_DAYS = 14, 3, 4, 7
_REVIEW = float(POLICY["review"])
_ROUND_US = 3_600_000_000
_FAIR_RUNS = 2_000
_ROOT = Path(__file__).parents[2]
Say = Callable[[str], None]


def _context(folder: Path, training: Path) -> Context:
    layout = Layout.below(folder)
    installation = Installation("bench", 1, "nobody", "main", "card_fraud", "", {"training": str(training)}, {})
    return Context(layout, installation, Settings(), Secrets(layout.secrets))


def _judged(replay: Replay, scores: Floats, since: int, kind: int) -> dict[str, float]:
    """Average precision on the new kind, the old kinds, and all of them, over the days that follow ``since``."""
    rows = (replay.event_time > since) & (replay.event_time <= since + _JUDGED_DAYS * DAY_US)
    label, kinds, mine = replay.label[rows].astype(np.int64), replay.kind[rows], scores[rows]
    new, old = (kinds == 0) | (kinds == kind), kinds != kind
    return {
        "new": average_precision(label[new], mine[new]) if kind else 0.0,
        "old": average_precision(label[old], mine[old]),
        "all": average_precision(label, mine),
    }


def _run(world: Replayed, days: float, recipe: Recipe, say: Say) -> None:
    """Rounds every hour for some days of labels."""
    begin = world.now
    while world.now < begin + round(days * DAY_US):
        world.now += _ROUND_US
        for done in step(world, recipe.learning):
            if not done.act.endswith(".wait"):
                say(f"{(world.now - begin) / _ROUND_US:.0f} h {done.act}: {done.why}")


def drift(
    context: Context, recipe: Recipe, replay: Replay, folder: Path, seed: int, kind: int, review: float, say: Say
) -> dict[str, Any]:
    """One seed of the replay with a new kind of fraud."""
    first_labels = int(pd.Timestamp(BEGINS).value // 1000) + LABEL_DELAY_US
    end = first_labels + _RECOVERY_DAYS * DAY_US
    lab = Lab(context, recipe, replay, folder, seed, first_labels - LABEL_DELAY_US)
    first = lab.train(first_labels, _TRAIN_DAYS)
    world = Replayed(lab, first, review)
    _run(world, _RECOVERY_DAYS, recipe, say)
    full = lab.train(end, _TRAIN_DAYS)
    found = {
        name: _judged(replay, version.scores, end, kind)
        for name, version in (("first", first), ("loop", world.champion), ("full", full))
    }
    gain = found["full"]["new"] - found["first"]["new"]
    return {
        "seed": seed,
        **found,
        "recovered": (found["loop"]["new"] - found["first"]["new"]) / gain,
        "old_kinds_change": found["loop"]["old"] - found["first"]["old"],
        "promotions_after_hours": [(at - first_labels) / 3.6e9 for at, _, _ in world.promotions],
        "candidates": world.candidates,
        "ways_back": len(world.backs),
    }


def calm(
    context: Context, recipe: Recipe, replay: Replay, folder: Path, seed: int, review: float, say: Say
) -> dict[str, Any]:
    """One seed of the replay without drift."""
    begin = int(pd.Timestamp(BEGINS).value // 1000) + LABEL_DELAY_US
    lab = Lab(context, recipe, replay, folder, seed, begin - LABEL_DELAY_US)
    first = lab.train(begin, _TRAIN_DAYS)
    world = Replayed(lab, first, review)
    _run(world, _CALM_DAYS, recipe, say)
    promoted = []
    for at, before, after in world.promotions:
        old, new = (_judged(replay, world.versions[one].scores, at, 0)["all"] for one in (before, after))
        promoted.append({"after_hours": (at - begin) / 3.6e9, "before": old, "after": new, "false": new < old})
    return {
        "seed": seed,
        "candidates": world.candidates,
        "promoted": promoted,
        "ways_back": len(world.backs),
        "fair_promotions": _fair(replay, world, first, begin, recipe),
    }


def _fair(replay: Replay, world: Replayed, first: Version, begin: int, recipe: Recipe) -> float:
    """Share of fair runs that would promote: the pairs of the first and the last candidate, roles thrown at random.

    Looked at after every label of a challenger's whole time, as the test allows.
    """
    other = world.versions[max(world.versions)]
    known = replay.known_at
    end = begin + round(recipe.learning.challenger_days * DAY_US)
    rows = np.flatnonzero((known > begin) & (known <= end))
    label = replay.label[rows]
    advantage = (first.scores[rows] - label) ** 2 - (other.scores[rows] - label) ** 2
    chance = np.random.default_rng(1)
    promoted = 0
    for _ in range(_FAIR_RUNS):
        thrown: npt.NDArray[np.float64] = advantage * chance.choice([-1.0, 1.0], len(advantage))
        wealth = np.exp(np.cumsum(np.log1p(np.outer(BETS, thrown)), axis=1)).mean(axis=0)
        promoted += bool((wealth >= 1 / recipe.learning.error_level).any())
    return promoted / _FAIR_RUNS


def markdown(kind: int, drifts: list[dict[str, Any]], calms: list[dict[str, Any]]) -> str:
    """Both tables, a row a seed."""
    lines = [
        f"New kind: scenario {kind}, from {BEGINS} on; judged on the {_JUDGED_DAYS} days that follow "
        f"{_RECOVERY_DAYS} days of labels.",
        "",
        "| seed | AP new: first, loop, full retrain | recovered | AP old: first, loop | promotions after (hours) |",
        "|---|---|---|---|---|",
    ]
    for one in drifts:
        new = ", ".join(f"{one[name]['new']:.3f}" for name in ("first", "loop", "full"))
        hours = ", ".join(f"{at:.0f}" for at in one["promotions_after_hours"]) or "none"
        old = f"{one['first']['old']:.3f}, {one['loop']['old']:.3f}"
        lines.append(f"| {one['seed']} | {new} | {one['recovered']:.2f} | {old} | {hours} |")
    if drifts:
        recovered = [one["recovered"] for one in drifts]
        lines += ["", f"Recovered: mean {np.mean(recovered):.2f}, lowest {min(recovered):.2f}.", ""]
    lines += [
        "| seed | candidates without drift | promoted | of them worse afterwards | fair runs promoted |",
        "|---|---|---|---|---|",
    ]
    for one in calms:
        false = sum(each["false"] for each in one["promoted"])
        lines.append(
            f"| {one['seed']} | {one['candidates']} | {len(one['promoted'])} | {false} | {one['fair_promotions']:.2%} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two Parquet files")
    parser.add_argument("--training", type=Path, required=True, help="the training environment (…/envs/training)")
    parser.add_argument("--kind", type=int, default=3, choices=(1, 2, 3), help="fraud scenario that is new (3)")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--what", choices=("drift", "calm", "both"), default="both")
    parser.add_argument("--cache", type=Path, help="folder that keeps the features between runs")
    parser.add_argument("--out", type=Path, help="folder of learning.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="learning-"))
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:8.1f} s  {text}\n")
        sys.stderr.flush()

    recipe = recipes.read(_ROOT / "feature_repo" / "card_fraud" / "recipe.toml")
    drifts: list[dict[str, Any]] = []
    calms: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-learning-") as scratch:
        folder = Path(scratch)
        context = _context(folder, arguments.training)
        cache = arguments.cache or folder / "cache"
        for what, kind, found in (("drift", arguments.kind, drifts), ("calm", 0, calms)):
            if arguments.what not in (what, "both"):
                continue
            replay = learning_data.load(arguments.data, cache, BEGINS, UNTIL, kind)
            say(f"{what}: {len(replay.label)} payments")
            for seed in range(1, arguments.seeds + 1):
                place = folder / f"{what}-{seed}"
                one = (
                    drift(context, recipe, replay, place, seed, kind, _REVIEW, say)
                    if what == "drift"
                    else calm(context, recipe, replay, place, seed, _REVIEW, say)
                )
                found.append(one)
                say(f"{what} {one}")
                text = markdown(arguments.kind, drifts, calms)
                machine.write(out, "learning", {"kind": arguments.kind, "drift": drifts, "calm": calms}, text)
    sys.stdout.write(f"{text}\n{out}/learning.json, learning.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
