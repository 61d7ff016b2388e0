"""What moved an alert's score: Shapley values of the served model, computed off the scoring path while it is filed."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from appliance.clients.triton import TritonClient
from appliance.clients.triton_repository import TritonModelError, TritonUnavailableError
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.records import Alert, Prediction
from gateway import words
from gateway.alerts.explanation import Contribution, Explanation
from gateway.errors import UnusableRowError
from gateway.scoring.features import matrix
from models import background, shapley
from models.registry import Registry
from stream_jobs.online.reader import Vector
from stream_jobs.plan import Plan, Service

METHOD = "Shapley values by antithetic permutation sampling against rows of the training set"
BUDGET_SECONDS = 2.0
"""For the alerts that are filed together; those left then are filed without."""
ROWS_A_CALL = 128
"""Small requests, one after the other: a row that is being scored waits for one of them at most."""
_MOST_WORDS = 5

Infer = Callable[[str, npt.NDArray[np.float32]], tuple[npt.NDArray[np.float32], str]]
"""(model, rows [n, k]) → scores [n] and the version that gave them."""


class _NoneError(Exception):
    """There is no explanation; says why."""


@dataclass(frozen=True)
class _Background:
    """rows float32 [b, k] and their scores [b] by one version."""

    rows: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float64]


@dataclass
class Explainer:
    """Explains alerts of a plan's services, each with the version that scored it. For one thread."""

    context: Context
    plan: Plan
    infer: Infer
    _backgrounds: dict[tuple[str, str], _Background] = field(default_factory=dict)

    @classmethod
    def of(cls, context: Context, plan: Plan, client: TritonClient) -> Explainer:
        return cls(context, plan, client.infer)

    def explain(self, alerts: Sequence[Alert]) -> list[Explanation]:
        """One for each alert, in their order; never raises for what an alert, Triton or the registry lacks."""
        began = time.monotonic()
        found: list[Explanation] = []
        away = ""
        for alert in alerts:
            if time.monotonic() - began > BUDGET_SECONDS:
                away = (
                    away
                    or f"{len(alerts)} alerts came at once: after {BUDGET_SECONDS:g} s the others are filed without"
                )
            try:
                found.append(Explanation(reason=away) if away else self._one(alert.prediction))
            except TritonUnavailableError as error:
                away = f"the model server did not answer: {error.message}"
                found.append(Explanation(reason=away))
            except _NoneError as error:
                found.append(Explanation(reason=str(error)))
            except (ApplianceError, OSError) as error:
                found.append(Explanation(reason=f"it could not be computed: {error}"))
        return found

    def _one(self, prediction: Prediction) -> Explanation:
        began = time.perf_counter()
        service = next((one for one in self.plan.services if one.name == prediction.service), None)
        if service is None or service.definition_hash != prediction.definition_hash:
            raise _NoneError("the service's definition has changed since it was scored")
        against = self._background(service, prediction)
        row = _row(service, prediction)
        seed = zlib.crc32(prediction.prediction_id.encode())
        found = shapley.attribute(lambda rows: self._scores(prediction, rows), row, against.rows, against.scores, seed)
        order = np.argsort(-np.abs(found.values), kind="stable")
        made = [
            Contribution(service.features[at], float(found.values[at]), float(found.errors[at]))
            for at in order.tolist()
        ]
        return Explanation(
            method=METHOD,
            base=found.base,
            gap=found.gap,
            contributions=made,
            in_words=self._in_words(service, prediction, found.base, made),
            background_rows=len(against.rows),
            evaluations=found.evaluations,
            spent_ms=round((time.perf_counter() - began) * 1e3, 1),
        )

    def _background(self, service: Service, prediction: Prediction) -> _Background:
        key = prediction.model, prediction.model_version
        if key not in self._backgrounds:
            if not prediction.model_version.isdigit():
                raise _NoneError(f"{prediction.model_version!r} is no version of the registry")
            registry = Registry.of(self.context)
            record = registry.get(prediction.model, int(prediction.model_version))
            names = tuple(feature.partition(":")[2] for feature in service.features)
            if record.inputs != names:
                raise _NoneError(f"version {record.version} of {record.model} has other inputs than the service")
            rows = background.of_version(registry.path(record.model, record.version)).array()
            self._backgrounds.clear()
            self._backgrounds[key] = _Background(rows, self._scores(prediction, rows))
        return self._backgrounds[key]

    def _scores(self, prediction: Prediction, rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """float64 [n], by the version that scored the alert. Raises _NoneError when another one serves now."""
        parts = []
        for start in range(0, len(rows), ROWS_A_CALL):
            try:
                scores, version = self.infer(prediction.model, rows[start : start + ROWS_A_CALL])
            except TritonModelError as error:
                raise _NoneError(f"the model server refused it: {error.message}") from error
            if version != prediction.model_version:
                raise _NoneError(f"version {version} serves now, version {prediction.model_version} scored it")
            parts.append(scores)
        return np.concatenate(parts).astype(np.float64)

    def _in_words(
        self, service: Service, prediction: Prediction, base: float, made: Sequence[Contribution]
    ) -> list[str]:
        meant = words.features(self.plan, service)
        return [
            words.moved(meant[one.feature], prediction.features[one.feature].value, one.moved)
            for one in made[:_MOST_WORDS]
            if words.worth_saying(one.moved, one.standard_error)
        ] + [words.base(base, prediction.score)]


def _row(service: Service, prediction: Prediction) -> npt.NDArray[np.float32]:
    """float32 [k] as the model got it."""
    missing = [name for name in service.features if name not in prediction.features]
    if missing:
        raise _NoneError(f"the prediction has no value of {', '.join(missing)}")
    try:
        row: npt.NDArray[np.float32] = matrix(service, [Vector(prediction.features, {}, {}, behind=False)])[0]
    except (UnusableRowError, TypeError, ValueError) as error:
        raise _NoneError(f"its features are no model input: {error}") from error
    return row
