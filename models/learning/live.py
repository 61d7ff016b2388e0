"""The live world of the loop: the lake, Triton, the registry and the queue of this appliance."""

from __future__ import annotations

import shutil
import statistics
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from appliance import golden
from appliance.clients.triton import TritonClient
from appliance.parts.base import Context
from models import pipeline
from models import standing as standings
from models.errors import RegistryError
from models.jobs.queue import Queue
from models.learning import loop
from models.learning.decide import Load
from models.learning.evidence import Pairs
from models.learning.loop import Done
from models.learning.rows import Labelled, opened
from models.learning.update import comparable
from models.registry import ModelVersion, Registry
from models.standing import Role, Shadow, Standing, triton_name
from models.switching import LEARNER, Actor, Switchboard
from stream_jobs.plan import Plan, Service

_ASKED_ROWS = 20
_NEWEST_ROWS = 20_000
"""Alert volume is looked at over so many of the newest rows."""


class Live:
    """One service's world, as the lake stood when it was made."""

    def __init__(self, context: Context, service: Service, labelled: Labelled) -> None:
        self._context, self._service, self._labelled = context, service, labelled
        self._registry, self._switchboard = Registry.of(context), Switchboard(context)
        self._model = service.model

    def _champion(self) -> ModelVersion:
        pointer = self._registry.champion(self._model)
        if pointer is None:
            raise RegistryError("model.unknown", f"{self._model} has no champion", hint="appliance model train")
        return self._registry.get(self._model, pointer.version)

    def _actor(self, why: str, figures: dict[str, Any]) -> Actor:
        return Actor.now(self._context, LEARNER, why, figures)

    def standing(self) -> Standing:
        found = standings.read(self._registry, self._model)
        if found.cutoff:
            return found
        return msgspec.structs.replace(found, cutoff=self._champion().learned_until)

    def newest_label(self) -> int:
        return self._labelled.newest_label()

    def pairs(self, shadow: Shadow, until: int) -> Pairs:
        return self._labelled.pairs(shadow.version, self._champion().version, shadow.cutoff, until)

    def loads(self, role: Role) -> tuple[Load, Load]:
        shadow = self.standing().of(role)
        if shadow is None:
            return Load(), Load()
        champion, other = self._labelled.alerts(
            shadow.version, self._champion().version, self._service.policy.review, _NEWEST_ROWS
        )
        times = self._row_ms(self._model), self._row_ms(triton_name(self._model, role))
        return Load(champion, times[0]), Load(other, times[1])

    def _row_ms(self, name: str) -> float:
        """Median time of a row of the golden ones, each asked alone."""
        rows = np.array(golden.read(self._context.layout.model_repository / name).inputs(), np.float32)
        taken = []
        with TritonClient.of(self._context) as triton:
            for number in range(_ASKED_ROWS):
                began = time.perf_counter()
                triton.infer(name, rows[number % len(rows)][None, :])
                taken.append((time.perf_counter() - began) * 1000)
        return statistics.median(taken)

    def fresh(self, since: int) -> tuple[int, int]:
        return self._labelled.fresh(since, comparable(self._registry, self._champion()))

    def promote(self, version: int, why: str, figures: dict[str, Any]) -> None:
        self._switchboard.promote(self._model, version, self._actor(why, figures))

    def back(self, why: str, figures: dict[str, Any]) -> None:
        self._switchboard.rollback(self._model, self._actor(why, figures))

    def drop(self, role: Role, why: str, figures: dict[str, Any]) -> None:
        self._switchboard.drop(self._model, role, self._actor(why, figures))

    def make_candidate(self, cutoff: int) -> None:
        """A job of the queue, which puts the version into shadow itself; while one waits or runs this adds none."""
        asked = {"service": self._service.name, "cutoff": cutoff}
        Queue.of(self._context).add("update", self._model, asked, key=f"update {self._service.name}")
        self._switchboard.tried(self._model, cutoff)


def run(context: Context, plan: Plan, service: Service) -> list[Done]:
    """One round of a service. Raises ApplianceError; the next round then begins anew from what is stored."""
    recipe = pipeline.read_recipe(plan.scenario)
    scratch: Path = context.run("learner") / "scratch"
    try:
        with opened(context, plan, service, recipe, scratch) as labelled:
            return loop.step(Live(context, service, labelled), recipe.learning)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
