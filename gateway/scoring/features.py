"""Rows → vectors: windowed features from the online store, request features from plain functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.clients import hbase
from appliance.names import Names
from appliance.records import FeatureValue, Value
from gateway.errors import PartDownError, UnusableRowError
from gateway.scoring import staleness
from gateway.scoring.plain import load
from stream_jobs.errors import CutTooOldError, EditError
from stream_jobs.online.reader import OnlineReader, RowInHand, Vector, Vectors, entity_text
from stream_jobs.online.view_reader import History
from stream_jobs.plan import Plan, Service

REQUEST = "request:"


@dataclass(frozen=True)
class RequestFunctions:
    """The request features of a service: name → function of the row."""

    functions: Mapping[str, Callable[[Mapping[str, Value]], Value]]

    @classmethod
    def of(cls, service: Service) -> RequestFunctions:
        return cls({REQUEST + feature.name: load(feature.function) for feature in service.request_features})

    def values(self, row: Mapping[str, Value]) -> dict[str, FeatureValue]:
        """Raises UnusableRowError when a function cannot be computed of this row."""
        values = {}
        for name, function in self.functions.items():
            try:
                value = function(row)
            except (TypeError, ValueError, ArithmeticError, KeyError) as error:
                raise UnusableRowError(
                    "row.request_feature", f"{name} cannot be computed of this row: {type(error).__name__}: {error}"
                ) from error
            values[name] = FeatureValue(value, "null" if value is None else "present")
        return values


class Inputs:
    """Where each feature of a service stands in the model's tensor, worked out once."""

    def __init__(self, service: Service) -> None:
        self.width = len(service.features)
        of_views = [(place, name) for place, name in enumerate(service.features) if not name.startswith(REQUEST)]
        self.view_places, self.view_names = [place for place, _ in of_views], [name for _, name in of_views]
        self.requested = [(place, name) for place, name in enumerate(service.features) if name.startswith(REQUEST)]


class Found:
    """The features of some rows, in their order. ages_ms, also: see ``stream_jobs.online.reader.Vectors``."""

    def __init__(
        self,
        inputs: Inputs,
        vectors: Vectors,
        requested: Sequence[Mapping[str, FeatureValue]],
        old: frozenset[str],
    ) -> None:
        self._inputs, self._vectors, self._requested, self._old = inputs, vectors, requested, old
        self.ages_ms, self.also = vectors.ages_ms, vectors.also

    def matrix(self) -> npt.NDArray[np.float32]:
        """float32 [rows, features] in the order of the service; NaN where a value is missing or null.

        Raises UnusableRowError for a feature that is a list of values or a text.
        """
        inputs = self._inputs
        made = np.empty((len(self._requested), inputs.width), np.float32)
        try:
            made[:, inputs.view_places] = self._vectors.matrix(inputs.view_names)
            for place, name in inputs.requested:
                made[:, place] = [_number(row[name].value) for row in self._requested]
        except (TypeError, ValueError) as error:
            raise _no_input(error) from error
        return made

    def vector(self, row: int) -> Vector:
        """One row's vector, request features included, values of views that are too old marked."""
        vector = self._vectors[row]
        features = staleness.marked(vector.features, self._old) if self._old else vector.features
        features.update(self._requested[row])
        return Vector(features, vector.cuts, vector.reached, vector.behind)


def matrix(service: Service, vectors: Sequence[Vector]) -> npt.NDArray[np.float32]:
    """As ``Found.matrix``, of vectors that were written down."""
    try:
        return np.array([[_number(v.features[name].value) for name in service.features] for v in vectors], np.float32)
    except (TypeError, ValueError) as error:
        raise _no_input(error) from error


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _no_input(error: Exception) -> UnusableRowError:
    return UnusableRowError("row.list_feature", f"a list of last values or a text cannot be a model's input: {error}")


class ServiceFeatures:
    """The vectors of one service. May be used by many threads at once.

    store: a redis-py client that returns bytes. history: where the past is read, for cuts the store no longer has.
    """

    def __init__(self, names: Names, plan: Plan, service: Service, store: Any, history: History | None) -> None:
        self._plan, self._service = plan, service
        self._requests, self._bounds, self._inputs = (
            RequestFunctions.of(service),
            staleness.Bounds(plan),
            Inputs(service),
        )
        self._store, self._names, self._history = store, names, history
        self._local = threading.local()

    def _reader(self) -> OnlineReader:
        reader: OnlineReader | None = getattr(self._local, "reader", None)
        if reader is None:
            reader = OnlineReader(self._store, self._names, self._plan, self._history)
            self._local.reader = reader
        return reader

    def caught_up(self, position: str) -> bool:
        """Whether every view of the service has reached ``position``. Raises redis-py's errors."""
        found = self._reader().reached(self._service).values()
        return all(reached is not None and reached.position >= position for reached in found)

    def of_entities(self, keys: Mapping[str, str], as_of_us: int) -> dict[str, FeatureValue]:
        """ "view:feature" → value for each view whose join keys are all in ``keys``, at the position reached.

        Raises redis-py's errors, and UnusableRowError for a time whose edits the store no longer holds.
        """
        values: dict[str, FeatureValue] = {}
        for name in self._service.views:
            view = self._plan.view(name)
            if not keys.keys() >= set(view.join_keys):
                continue
            try:
                (found,) = self._reader().values(name, [entity_text(view, keys)], as_of_us)
            except (EditError, CutTooOldError) as error:
                raise UnusableRowError(error.code, error.message, context=error.context, hint=error.hint) from error
            except hbase.FAILURES as error:
                raise PartDownError("hbase-thrift", error) from error
            values |= {f"{name}:{feature}": value for feature, value in found.items()}
        ages = {name.partition(":")[0]: value.age_ms for name, value in values.items()}
        return staleness.marked(values, self._bounds.old(ages))

    def requested(self, row: Mapping[str, Value]) -> dict[str, FeatureValue]:
        """The request features of a row. Raises UnusableRowError."""
        return self._requests.values(row)

    def read(
        self,
        rows: Sequence[RowInHand],
        requested: Sequence[Mapping[str, FeatureValue]],
        also: Sequence[str] = (),
        deadline: float | None = None,
    ) -> Found:
        """The features of each row in one round trip. requested: of each row. also: further Redis keys to read.

        deadline: of ``time.monotonic``. Raises redis-py's errors, and UnusableRowError when one of the rows cannot be
        turned into a vector.
        """
        try:
            vectors = self._reader().vectors(self._service, rows, also, deadline)
        except (EditError, CutTooOldError) as error:
            raise UnusableRowError(error.code, error.message, context=error.context, hint=error.hint) from error
        except hbase.FAILURES as error:
            raise PartDownError("hbase-thrift", error) from error
        return Found(self._inputs, vectors, requested, self._bounds.old(vectors.ages_ms))
