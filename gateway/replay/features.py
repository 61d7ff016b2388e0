"""A prediction's features again, from the lake's changes at its cut: by the window algebra that parity uses.

The lake is the permanent log, so a view version that was dropped from HBase and Redis long ago can be computed too.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from appliance import position as positions
from appliance.parts.base import Context
from appliance.records import Edit, Prediction
from gateway.replay.meaning import Meaning
from stream_jobs.lake import reach
from stream_jobs.lake.reading import literal
from stream_jobs.online import hbase_table
from stream_jobs.online.packed import RowLayout
from stream_jobs.parity import ledger, requested
from stream_jobs.parity.compare import Close, tolerance
from stream_jobs.parity.history import HistoryLeg
from stream_jobs.plan import View
from stream_jobs.rebuild import from_lake

_LOOK_SECONDS = 0.25
_FAILURES = (TypeError, ValueError, ArithmeticError, LookupError, ImportError, AttributeError)
"""Of a scenario's function that has changed since, or is gone."""


@dataclass
class Recomputed:
    """Of some predictions. values: prediction id → feature → value. why_not: prediction id → why there is none."""

    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    why_not: dict[str, str] = field(default_factory=dict)


def closeness(meaning: Meaning) -> dict[str, Close]:
    """Feature → what its values may differ by: parity's rule."""
    close: dict[str, Close] = {}
    for view in meaning.views:
        columns = {column.name: column for column in view.columns}
        for feature in view.features:
            close[f"{view.name}:{feature.name}"] = tolerance(feature, columns.get(feature.column or ""))
    return close


def recompute(context: Context, meaning: Meaning, predictions: Sequence[Prediction], wait_seconds: float) -> Recomputed:
    """Features of predictions that were made with one definition.

    Memory grows with the edits of the entities of these predictions. Raises LakeError and RebuildError.
    """
    service = meaning.service
    found = Recomputed({each.prediction_id: {} for each in predictions})
    rows = [_row(each) for each in predictions]
    for group in ledger.groups(service, meaning.views, Path()):
        asked = [(row["prediction_id"], ledger.asked(group, row, service, True)) for row in rows]
        for prediction_id, one in asked:
            if isinstance(one, str):
                found.why_not.setdefault(prediction_id, one)
        questions = [ledger.question(one) for _, one in asked if not isinstance(one, str)]
        if group.view is None:
            try:
                values = requested.by_functions(service, questions)
            except _FAILURES as error:
                for question in questions:
                    reason = f"a request feature cannot be computed any more: {type(error).__name__}: {error}"
                    found.why_not.setdefault(question.prediction_id, reason)
                continue
        else:
            questions = _held(context, meaning, group.view, questions, found, wait_seconds)
            questions.sort(key=_key)
            log = _Log(context, meaning, group.view, questions)
            leg = HistoryLeg(group.view, RowLayout.of(meaning.plan, group.view), log)
            answers = leg.answers(questions).values
            values = {name: answers[name.partition(":")[2]] for name in group.features}
        for name, column in values.items():
            for question, value in zip(questions, column, strict=True):
                found.values[question.prediction_id][name] = value
    return found


def _row(prediction: Prediction) -> dict[str, Any]:
    names = ("prediction_id", "way", "source_position", "as_of", "row", "features", "cuts")
    return {name: getattr(prediction, name) for name in names}


def _key(question: ledger.Question) -> tuple[bytes, int]:
    return b"" if question.entity is None else hbase_table.row_key(question.entity), question.as_of


def _held(
    context: Context,
    meaning: Meaning,
    view: View,
    questions: Sequence[ledger.Question],
    found: Recomputed,
    wait_seconds: float,
) -> list[ledger.Question]:
    """Those whose cut the lake has reached; waits for the others, then says why they are left out."""
    path = from_lake.path(context, from_lake.captured(meaning.plan, view))
    highest = max((each.cut for each in questions), default=positions.ZERO)
    deadline = time.monotonic() + wait_seconds
    while (held := reach.read(path).position) < highest and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    for each in questions:
        if each.cut > held:
            reason = f"the lake holds {view.table} up to position {held}, the prediction was made at {each.cut}"
            found.why_not.setdefault(each.prediction_id, reason)
    return [each for each in questions if each.cut <= held]


class _Log:
    """A view's edits of the entities that some questions name, made of the lake's changes."""

    def __init__(self, context: Context, meaning: Meaning, view: View, questions: Iterable[ledger.Question]) -> None:
        self._context, self._meaning, self._view = context, meaning, view
        self._until = max((each.cut for each in questions), default=positions.ZERO)

    def __call__(self, entities: Sequence[str]) -> list[tuple[str, list[Edit]]]:
        """Entities that the log knows, in the order given, with every edit by event time."""
        if not entities:
            return []
        edits: dict[str, list[Edit]] = {}
        view, table = self._view, from_lake.captured(self._meaning.plan, self._view)
        with from_lake.lake(self._context) as connection:
            connection.register("wanted", pa.table({"entity": pa.array(entities, pa.string())}))
            changes = from_lake.changes(self._context, table)
            until = f"(SELECT * FROM {changes} WHERE position <= {literal(self._until)})"
            only = "entity IN (SELECT entity FROM wanted)"
            for batch in from_lake.batches(connection, view, table, until, None, only):
                for edit in from_lake.edits_of(view, batch):
                    edits.setdefault(edit.entity, []).append(edit)
        order = attrgetter("event_time", "position", "sign", "row_id")
        return [(entity, sorted(edits[entity], key=order)) for entity in entities if entity in edits]
