"""Offline SQL = the numpy algebra that online reads use, on the same changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.records import Edit
from stream_jobs.lake.reading import connect
from stream_jobs.offline.join import Questions, window_features
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import batch, halves
from stream_jobs.windows.fold import fold, up_to
from tests.unit.stream_jobs.offline import world
from tests.unit.stream_jobs.offline.oracle import Event, Question
from tests.unit.stream_jobs.offline.test_join import question_table, same

_WINDOWS = Windows(world.VIEW.columns, world.VIEW.features)


def _edit(sign: Any, position: str, row: dict[str, Any]) -> Edit:
    columns = {c.name: str(v) if c.type == "decimal" and (v := row[c.name]) is not None else row[c.name]
               for c in world.VIEW.columns}  # fmt: skip
    return Edit(sign, position, 0, row_id=str(row["id"]), event_time=row["at"], columns=columns)


def edits(events: list[Event]) -> dict[tuple[Any, ...], list[Edit]]:
    """Entity → its log: each change takes the row before it out and puts its own in."""
    logs: dict[tuple[Any, ...], list[Edit]] = {}
    stored: dict[int, dict[str, Any]] = {}
    for event in sorted(events, key=lambda event: event.position):
        if event.row is None:
            continue
        before, after = stored.pop(event.row["id"], None), event.row if event.op != "d" else None
        if after is not None:
            stored[event.row["id"]] = after
        for sign, row in ((-1, before), (1, after)):
            if row is not None and row["at"] is not None:
                logs.setdefault((row["card"], row["place"]), []).append(_edit(sign, event.position, row))
    return logs


def _numpy(log: list[Edit], question: Question) -> dict[str, Any]:
    columns = batch(world.VIEW.columns, log, integer_ids=True)
    group = np.zeros(len(log), np.intp)
    high, low = halves(question.position or "f" * 32)
    considered = up_to(columns, np.full(len(log), high, np.uint64), np.full(len(log), low, np.uint64))
    found = assemble(_WINDOWS, columns, group, fold(columns, group, considered), np.array([question.as_of], np.int64))
    return {name: values[0] for name, values in found.items()}


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("cut", ["all", "position"])
def test_sql_is_what_online_reads_compute(
    tmp_path_factory: pytest.TempPathFactory, cut: Any, data: st.DataObject
) -> None:
    events = [event for event in data.draw(world.histories()) if event.op != "t"]
    asked = data.draw(st.lists(world.questions(cut, in_hand=False), min_size=1, max_size=6))
    logs = edits(events)
    with connect(Path(tmp_path_factory.getbasetemp())) as connection:
        connection.register("changes", world.change_table(events))
        connection.register("questions", question_table(asked, cut, in_hand=False))
        questions = Questions("questions", len(asked), cut)
        rows = pa.concat_tables(window_features(connection, world.VIEW, world.TABLE, "changes", questions)).to_pylist()
    for question, row in zip(asked, rows, strict=True):
        online = _numpy(logs.get(question.entity, []), question)
        wrong = {name: (value, row[name]) for name, value in online.items() if not same(value, row[name])}
        assert not wrong, (question, wrong)
