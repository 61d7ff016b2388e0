"""Rows → vectors: windowed features from the online store, request features from plain functions."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
from stream_jobs.online.reader import OnlineReader, RowInHand, Vector, entity_text
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


class ServiceFeatures:
    """The vectors of one service. May be used by many threads at once.

    store: a redis-py client that returns bytes. history: where the past is read, for cuts the store no longer has.
    """

    def __init__(self, names: Names, plan: Plan, service: Service, store: Any, history: History | None) -> None:
        self._plan, self._service = plan, service
        self._requests = RequestFunctions.of(service)
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
        return staleness.marked(self._plan, values)

    def read(self, rows: Sequence[RowInHand]) -> list[Vector]:
        """A vector for each row, request features included.

        Raises redis-py's errors, and UnusableRowError when one of the rows cannot be turned into a vector.
        """
        requested = [self._requests.values(row.row) for row in rows]
        try:
            vectors = self._reader().vectors(self._service, rows)
        except (EditError, CutTooOldError) as error:
            raise UnusableRowError(error.code, error.message, context=error.context, hint=error.hint) from error
        except hbase.FAILURES as error:
            raise PartDownError("hbase-thrift", error) from error
        return [
            replace(vector, features={**staleness.marked(self._plan, vector.features), **values})
            for vector, values in zip(vectors, requested, strict=True)
        ]


def matrix(service: Service, vectors: Sequence[Vector]) -> npt.NDArray[np.float32]:
    """float32 [rows, features] in the order of the service; NaN where a value is missing or null."""
    return np.array([[_number(v.features[name].value) for name in service.features] for v in vectors], np.float32)


def _number(value: Value | list[Value]) -> float:
    if isinstance(value, list):
        raise UnusableRowError("row.list_feature", "a list of last values cannot be a model's input")
    return math.nan if value is None else float(value)
