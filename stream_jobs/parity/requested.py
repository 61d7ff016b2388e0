"""Features of the row in hand: the plan's plain functions, and the same through Feast's on-demand views."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from stream_jobs.offline.floats import float64
from stream_jobs.offline.frame import EVENT_TIMESTAMP
from stream_jobs.parity.ledger import REQUEST, Question
from stream_jobs.parity.training import row_column
from stream_jobs.plan import Service

if TYPE_CHECKING:
    from feast import FeatureStore


def by_functions(service: Service, questions: Sequence[Question]) -> dict[str, list[Any]]:
    """ "request:feature" → value of each question."""
    found = {}
    for feature in service.request_features:
        module, _, name = feature.function.partition(":")
        function = getattr(importlib.import_module(module), name)
        found[f"{REQUEST}:{feature.name}"] = [function(question.row) for question in questions]
    return found


def by_feast(store: FeatureStore, service: Service, questions: Sequence[Question]) -> dict[str, list[Any]]:
    """The same, computed as for a training set: decimals are float64 and times int64 µs."""
    wanted = {feature.name for feature in service.request_features}
    references = {
        feature.name: f"{projection.name}:{feature.name}"
        for projection in store.get_feature_service(service.name).feature_view_projections
        for feature in projection.features
        if projection.name not in service.views and feature.name in wanted
    }
    columns: dict[str, Any] = {}
    for column in service.row:
        values = row_column(column, questions)
        if column.type == "decimal":
            values = float64(values)
        elif column.type == "timestamp_us":
            values = pc.cast(values, pa.int64())
        columns[column.name] = values
    at = pa.array([each.as_of for each in questions], pa.int64())
    columns[EVENT_TIMESTAMP] = at.cast(pa.timestamp("us", "UTC"))
    frame = pa.table(columns).to_pandas()
    answer = store.get_historical_features(frame, list(references.values()), full_feature_names=True).to_arrow()
    return {
        f"{REQUEST}:{name}": answer[reference.replace(":", "__")].to_pylist() for name, reference in references.items()
    }
