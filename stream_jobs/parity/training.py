"""Leg 3: features of questions through Feast's point-in-time join over the lake, asked as training asks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from appliance.records import Value
from stream_jobs.lake import schema
from stream_jobs.offline.frame import EVENT_TIMESTAMP, POSITION, ROW_IN_HAND
from stream_jobs.parity.ledger import Question
from stream_jobs.plan import Column, Service, View

if TYPE_CHECKING:
    from feast import FeatureStore

Join = Callable[[pa.Table, list[str]], pa.Table]
"""(entity frame, feature references) → the frame with a column ``<view>__<feature>`` for each."""


def of_feast(store: FeatureStore) -> Join:
    def join(frame: pa.Table, references: list[str]) -> pa.Table:
        answer: pa.Table = store.get_historical_features(
            frame,  # not the pandas table that Feast asks for: our store takes arrow, which loses no digit
            references,
            full_feature_names=True,
        ).to_arrow()
        return answer

    return join


class TrainingLeg:
    """Answers questions about one view."""

    def __init__(self, service: Service, view: View, join: Join) -> None:
        self._service, self._view, self._join = service, view, join

    def answers(self, questions: Sequence[Question]) -> dict[str, list[Any]]:
        """Feature of the view → value of each question. Raises OfflineStoreError."""
        view = self._view
        references = [f"{view.name}:{feature.name}" for feature in view.features]
        found = self._join(self.frame(questions), references)
        return {feature.name: found[f"{view.name}__{feature.name}"].to_pylist() for feature in view.features}

    def frame(self, questions: Sequence[Question]) -> pa.Table:
        """The entity frame: the row's columns, its time, the cut, and which rows the lake is not asked for."""
        columns = {column.name: row_column(column, questions) for column in self._service.row}
        at = pa.array([each.as_of for each in questions], pa.int64())
        columns[EVENT_TIMESTAMP] = at.cast(schema.TIMESTAMP)
        columns[POSITION] = pa.array([each.cut for each in questions], pa.string())
        if self._view.name in self._service.row_views:
            hands = [None if each.stored or each.entity is None else each.row[self._view.row_id] for each in questions]
            columns[ROW_IN_HAND] = pa.array([None if hand is None else str(hand) for hand in hands], pa.string())
        return pa.table(columns)


def row_column(column: Column, questions: Sequence[Question]) -> pa.Array:
    """A column of the rows in hand, in the lake's type."""
    values: list[Value] = [each.row.get(column.name) for each in questions]
    kind = schema.arrow_type(column)
    if column.type == "decimal":
        return pa.array(values, pa.string()).cast(kind)
    if column.type == "timestamp_us":
        return pa.array(values, pa.int64()).cast(kind)
    return pa.array(values, kind)
