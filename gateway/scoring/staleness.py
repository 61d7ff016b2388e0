"""How old a view's values may be: its own ``ttl``, which marks them, and what a request accepts, which refuses it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from appliance.records import FeatureValue
from gateway.errors import Fault, StaleError
from gateway.scoring import validate
from stream_jobs.plan import Plan

FIELD = "max_staleness_ms"
MOST_MS = 10**12


def given(value: object) -> tuple[int | None, list[Fault]]:
    """What a request says in this field, and what is wrong with it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_MS):
        return value, []
    return None, [Fault(FIELD, f"a whole number of ms, 0 to {MOST_MS}", validate.shown(value))]


class Bounds:
    """How old each view of a plan may be by its own ``ttl``."""

    def __init__(self, plan: Plan) -> None:
        self._limits_ms = {view.name: view.ttl_ms for view in plan.views if view.ttl_ms is not None}

    def old(self, ages_ms: Mapping[str, int | None]) -> frozenset[str]:
        """The views that are older than their bound. ages_ms: view → age of the position reached, None for none."""
        limits = self._limits_ms
        return frozenset(view for view, age in ages_ms.items() if age is not None and age > limits.get(view, math.inf))


def marked(features: Mapping[str, FeatureValue], old: frozenset[str]) -> dict[str, FeatureValue]:
    """ "view:feature" → value, with the status stale in the views that are too old."""
    return {
        name: msgspec.structs.replace(value, status="stale")
        if name.partition(":")[0] in old and value.status != "missing"
        else value
        for name, value in features.items()
    }


def check(ages_ms: Mapping[str, int | None], max_staleness_ms: int | None) -> None:
    """Raises StaleError when a view has reached nothing (None), or a position older than this."""
    if max_staleness_ms is None:
        return
    ages: dict[str, float] = {view: math.inf if age is None else age for view, age in ages_ms.items()}
    old = {view: age for view, age in ages.items() if age > max_staleness_ms}
    if old:
        told = ", ".join(f"{view} {_shown(age)}" for view, age in sorted(old.items()))
        raise StaleError(
            "features.stale",
            f"the request accepts features of at most {max_staleness_ms} ms of age; there are: {told}",
            context={
                FIELD: max_staleness_ms,
                "age_ms": {view: None if math.isinf(age) else age for view, age in old.items()},
                "retry_after_s": 1,
            },
            hint="GET /v1/freshness; appliance freshness",
        )


def _shown(age: float) -> str:
    return "none yet" if math.isinf(age) else f"{age:.0f} ms"
