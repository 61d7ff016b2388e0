"""Feedback and shadow scores in the lake."""

from __future__ import annotations

from pathlib import Path

import duckdb
import msgspec
import pytest

from appliance.names import Names
from appliance.records import Feedback, ShadowScore
from stream_jobs.lake import schema, sink
from stream_jobs.lake.reading import scan
from stream_jobs.lake.records import Raw
from tests.unit.stream_jobs.lake.test_ledger import SERVICE

_SAID = Feedback("c-1", "card_fraud", 1, 1_763_900_000_000_000, event_key="7", way="console", said_by="admin")


def _raw(offset: int, value: bytes) -> Raw:
    return Raw("main.feedback.card_fraud", 0, offset, value)


def test_what_is_said_is_stored_once_also_when_it_is_read_again(tmp_path: Path) -> None:
    one = sink.of_feedback(SERVICE, Names("main"), tmp_path)
    taken_back = msgspec.structs.replace(_SAID, feedback_id="c-2", label=None)
    records = [_raw(0, msgspec.json.encode(_SAID)), _raw(1, msgspec.json.encode(taken_back))]
    assert one.add(records) == []
    one.flush()
    again = sink.of_feedback(SERVICE, Names("main"), tmp_path)
    assert again.reached(0) == 1, "the writer reads on after what the table holds"
    table = scan(tmp_path / Names("main").lake_feedback("card_fraud"), schema.FEEDBACK)
    rows = duckdb.sql(f"SELECT feedback_id, label, known_date::VARCHAR, said_by FROM {table} ORDER BY 1").fetchall()
    assert rows == [("c-1", 1, "2025-11-23", "admin"), ("c-2", None, "2025-11-23", "admin")]


@pytest.mark.parametrize(
    "value",
    [
        b"no json",
        b'{"feedback_id": "x", "service": "card_fraud", "label": 1, "known_at": 5}',
        b'{"feedback_id": "x", "service": "other", "label": 1, "known_at": 5, "event_key": "7"}',
        b'{"feedback_id": "x", "service": "card_fraud", "label": 2, "known_at": 5, "event_key": "7"}',
        b'{"feedback_id": "x", "service": "card_fraud", "label": 1, "known_at": 999999999999999999, "event_key": "7"}',
        b'{"feedback_id": "x", "service": "card_fraud", "label": 1, "known_at": 5, "event_key": "7", "fraud": 1}',
    ],
)
def test_what_is_no_feedback_is_put_aside_with_its_reason(tmp_path: Path, value: bytes) -> None:
    (broken,) = sink.of_feedback(SERVICE, Names("main"), tmp_path).add([_raw(3, value)])
    assert broken.error.code == "lake.broken_feedback"
    assert "record 3 of main.feedback.card_fraud/0" in broken.error.message


def test_a_shadow_score_is_stored_whole(tmp_path: Path) -> None:
    one = sink.of_shadow(SERVICE, Names("main"), tmp_path)
    score = ShadowScore("p", "card_fraud", "7", "cdc", 5, "card_fraud", "3", 0.5, "2", 0.25, 1_763_900_000_000_000, 9)
    assert one.add([Raw("main.shadow.card_fraud", 0, 0, msgspec.json.encode(score))]) == []
    one.flush()
    table = scan(tmp_path / Names("main").lake_shadow("card_fraud"), schema.SHADOW)
    rows = duckdb.sql(f"SELECT version, score, champion_score, predicted_date::VARCHAR FROM {table}").fetchall()
    assert rows == [("3", 0.5, 0.25, "2025-11-23")]
