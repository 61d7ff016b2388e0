"""How old a view's values may be: its own ``ttl``, which marks them, and what a request accepts, which refuses it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from appliance.records import FeatureValue
from gateway.errors import Fault, StaleError
from gateway.scoring import validate
from stream_jobs.online.reader import Vector
from stream_jobs.plan import Plan

FIELD = "max_staleness_ms"
MOST_MS = 10**12


def given(value: object) -> tuple[int | None, list[Fault]]:
    """What a request says in this field, and what is wrong with it."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_MS):
        return value, []
    return None, [Fault(FIELD, f"a whole number of ms, 0 to {MOST_MS}", validate.shown(value))]


def marked(plan: Plan, features: Mapping[str, FeatureValue]) -> dict[str, FeatureValue]:
    """ "view:feature" → value, with the status stale where the position reached is older than the view's ttl."""
    limits = {view.name: view.ttl_ms for view in plan.views if view.ttl_ms is not None}
    return {name: _marked(value, limits.get(name.partition(":")[0])) for name, value in features.items()}


def _marked(value: FeatureValue, limit_ms: int | None) -> FeatureValue:
    if limit_ms is None or value.age_ms is None or value.age_ms <= limit_ms or value.status == "missing":
        return value
    return msgspec.structs.replace(value, status="stale")


def check(vector: Vector, max_staleness_ms: int | None) -> None:
    """Raises StaleError when a view has reached nothing, or a position older than this."""
    if max_staleness_ms is None:
        return
    ages: dict[str, float] = {view: math.inf for view, position in vector.reached.items() if not position}
    for name, feature in vector.features.items():
        if feature.age_ms is not None:
            view = name.partition(":")[0]
            ages[view] = max(ages.get(view, 0), feature.age_ms)
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
