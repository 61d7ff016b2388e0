"""The learning loop's world on replayed payments: the live round, gate and training process, without an appliance.

Time is the scenario's. A prediction is scored with the features of its payment; its label is known 7 days later.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as parquet

from appliance.parts.base import Context
from models import process
from models.learning import candidate
from models.learning.decide import Load
from models.learning.evidence import Pairs
from models.learning.mix import part_of
from models.recipe import Recipe
from models.split import DAY_US, FIT, TAIL, TEST
from models.standing import Role, Shadow, Standing
from tests.bench.learning_data import INPUTS, LABEL_DELAY_US, Replay, frame

_SCORES = Path(__file__).with_name("learning_scores.py")
_ALERT_DAYS = 2
"""Alert volume is looked at over the newest days of traffic."""
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Version:
    """scores: of every payment of the replay from ``Lab.first`` on, NaN before."""

    number: int
    folder: Path
    updated: bool
    learned_until: int
    scores: Floats


class Lab:
    """Makes versions with the training process of the appliance. first: no score is needed before this time (µs)."""

    def __init__(self, context: Context, recipe: Recipe, replay: Replay, folder: Path, seed: int, first: int) -> None:
        self.context, self.recipe, self.replay, self.seed = context, recipe, replay, seed
        self._folder, self._first = folder, first
        self._made = 0

    def _next(self) -> Path:
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir(parents=True)
        return folder

    def train(self, known_until: int, days: int) -> Version:
        """From nothing, on the payments of ``days`` days whose labels are known by then."""
        folder, paid_until = self._next(), known_until - LABEL_DELAY_US
        time = self.replay.event_time
        rows = np.flatnonzero((time > paid_until - days * DAY_US) & (time <= paid_until))
        table = frame(self.replay, rows)
        tail = self.replay.event_time[rows] > paid_until - self.recipe.periods.tail_days * DAY_US
        part = np.where(tail, TAIL, FIT)
        part[part_of(table["event_key"].to_pylist()) == TEST] = TEST
        parquet.write_table(table.append_column("part", pa.array(part.astype(np.int8))), folder / "frame.parquet")
        process.train(self.context, self.recipe, INPUTS, folder, self.seed, "cpu", _say)
        return Version(self._made, folder, False, known_until, self._score(folder))

    def update(self, parent: Version, known_until: int) -> tuple[Version, str]:
        """The candidate, and why the gate refuses it."""
        folder, known = self._next(), self.replay.known_at
        rows = np.flatnonzero((known > parent.learned_until) & (known <= known_until))
        made = candidate.make(
            self.context, self.recipe, INPUTS, candidate.Parent(parent.folder, parent.updated),
            frame(self.replay, rows), folder, self.seed, lambda x: self._run(parent.folder, x), _say,
        )  # fmt: skip
        return Version(self._made, folder, True, known_until, self._score(folder)), made.check.refusal

    def _score(self, folder: Path) -> Floats:
        wanted = self.replay.event_time >= self._first
        scores = np.full(len(wanted), np.nan)
        scores[wanted] = self._run(folder, self.replay.x[wanted])
        return scores

    def _run(self, folder: Path, x: npt.NDArray[np.float32]) -> Floats:
        np.save(folder / "x.npy", x)
        subprocess.run(
            (
                self.context.python("training"),
                str(_SCORES),
                *(str(folder / n) for n in ("model.onnx", "x.npy", "s.npy")),
            ),
            check=True,
        )
        scores: Floats = np.load(folder / "s.npy")
        (folder / "x.npy").unlink()
        return scores


def _say(line: str) -> None:
    """Progress of a single training is of no interest here."""


class Replayed:
    """The world of one replay. now: µs UTC; labels known later are not there yet."""

    def __init__(self, lab: Lab, champion: Version, review: float) -> None:
        self.lab, self.champion, self._review = lab, champion, review
        self.now = champion.learned_until
        self.versions = {champion.number: champion}
        self.former: Version | None = None
        self.promotions: list[tuple[int, int, int]] = []
        self.backs: list[int] = []
        self.candidates = 0
        self._standing = Standing(cutoff=champion.learned_until)

    def standing(self) -> Standing:
        return self._standing

    def newest_label(self) -> int:
        known = self.lab.replay.known_at
        return int(known[known <= self.now].max())

    def pairs(self, shadow: Shadow, until: int) -> Pairs:
        known = self.lab.replay.known_at
        rows = np.flatnonzero((known > shadow.cutoff) & (known <= until))
        other = self.versions[shadow.version].scores
        return Pairs(self.lab.replay.label[rows], self.champion.scores[rows], other[rows])

    def loads(self, role: Role) -> tuple[Load, Load]:
        shadow = self._standing.of(role)
        assert shadow is not None
        time = self.lab.replay.event_time
        recent = (time > self.now - _ALERT_DAYS * DAY_US) & (time <= self.now)
        versions = (self.champion, self.versions[shadow.version])
        mine, its = (Load(float((one.scores[recent] >= self._review).mean())) for one in versions)
        return mine, its

    def fresh(self, since: int) -> tuple[int, int]:
        known = self.lab.replay.known_at
        rows = (known > since) & (known <= self.now)
        return int(rows.sum()), int(self.lab.replay.label[rows].sum())

    def promote(self, version: int, why: str, figures: dict[str, Any]) -> None:
        self.promotions.append((self.now, self.champion.number, version))
        former, self.champion = self.champion, self.versions[version]
        self.former = former
        self._standing = Standing(former=Shadow(former.number, self.newest_label()), cutoff=self._standing.cutoff)

    def back(self, why: str, figures: dict[str, Any]) -> None:
        assert self.former is not None
        self.backs.append(self.now)
        self.champion, self.former = self.former, None
        self._standing = Standing(cutoff=self._standing.cutoff)

    def drop(self, role: Role, why: str, figures: dict[str, Any]) -> None:
        self._standing = self._standing.without(role)

    def make_candidate(self, cutoff: int) -> None:
        made, refused = self.lab.update(self.champion, cutoff)
        self.versions[made.number] = made
        self.candidates += 1
        before = msgspec.structs.replace(self._standing, cutoff=cutoff)
        if not refused:
            before = msgspec.structs.replace(before, challenger=Shadow(made.number, cutoff), earlier=before.campaign)
        self._standing = before
