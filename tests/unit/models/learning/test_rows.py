"""Labelled rows, pairs and the rule over a small lake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.records import FeatureValue, Feedback, Prediction, ShadowScore
from appliance.secrets import Secrets
from appliance.settings import Settings
from models.feedback import reading as feedback
from models.feedback.settle import settle
from models.learning.rows import Labelled, opened
from models.recipe import Evaluation, Label, Recipe
from stream_jobs.lake import delta, schema, sink
from stream_jobs.lake.records import Raw
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service

_FEATURES = ("payments:count", "request:amount", "request:weekend")
_SERVICE = Service(
    "s", "bank", "public.payments", "t", "id", "at", (), (), (), (), _FEATURES, "m", Policy(0.5, 0.9, 100, "m:f"), ""
)
_LABELS = CapturedTable(
    "bank", "public.labels", "topic", ("id",),
    (Column("id", "int64"), Column("bad", "int64"), Column("at", "timestamp_us")), "at", True,
)  # fmt: skip
_EVENTS = CapturedTable("bank", "public.payments", "topic2", ("id",), (Column("id", "int64"),), "", True)
_PLAN = Plan("card", (_LABELS, _EVENTS), (), (_SERVICE,))
_RECIPE = Recipe(Label("public.labels", "id", "bad", "at"), Evaluation("who"))


def _prediction(key: str, way: str = "cdc", version: str = "1", **features: Any) -> Prediction:
    values = {"payments:count": 3, "request:amount": 12.5, "request:weekend": True} | features
    return Prediction(
        f"p-{key}-{way}", "main", "s", way, key, "", "", "", int(key) * 1000, {"who": int(key) % 3},  # type: ignore[arg-type]
        {name: FeatureValue(value, "present") for name, value in values.items()}, {}, {}, False, 0.2, "approve", "", "",
        "m", version, "h", 0, 5 if way == "cdc" else 1, {},
    )  # fmt: skip


def _said(key: str, label: int | None, known_at: int, **changes: Any) -> Feedback:
    fields = {"feedback_id": f"f-{key}-{known_at}", "event_key": key} | changes
    return Feedback(service="s", label=label, known_at=known_at, **fields)  # type: ignore[arg-type]


def _shadow(key: str, score: float, way: str = "cdc", version: str = "2", champion: str = "1") -> ShadowScore:
    return ShadowScore(f"p-{key}-{way}", "s", key, way, 1, "m", version, score, champion, 0.25, 7, 8)  # type: ignore[arg-type]


def _fill(one: sink.Sink, *records: msgspec.Struct) -> None:
    broken = one.add([Raw(one.topic, 0, place, msgspec.json.encode(record)) for place, record in enumerate(records)])
    assert broken == []
    one.flush()


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    context = Context(
        layout, Installation("1", 1, "n", "main", "card", "", {}, {}), Settings(), Secrets(layout.secrets)
    )
    names = context.names
    delta.create(layout.lake / names.lake_changes("bank", "public.labels"), schema.changes(_LABELS), schema.PARTITION)
    _fill(
        sink.of_service(_SERVICE, names, layout.lake),
        _prediction("10"), _prediction("10", "http", **{"request:amount": 99.0}),
        _prediction("11", "http", version="9"), _prediction("12", **{"payments:count": None}), _prediction("13"),
    )  # fmt: skip
    _fill(
        sink.of_feedback(_SERVICE, names, layout.lake),
        _said("10", 1, 100), _said("11", 0, 200), _said("", 0, 300, feedback_id="by-id", prediction_id="p-12-cdc"),
        _said("", 1, 300, feedback_id="nobody", prediction_id="unknown"), _said("13", 1, 400), _said("13", None, 500),
    )  # fmt: skip
    _fill(
        sink.of_shadow(_SERVICE, names, layout.lake),
        _shadow("10", 0.9), _shadow("10", 0.9), _shadow("10", 0.1, "http"), _shadow("12", 0.4),
        _shadow("12", 0.8, champion="7"), _shadow("12", 0.7, version="3"),
    )  # fmt: skip
    return context


@pytest.fixture
def labelled(context: Context, tmp_path: Path) -> Iterator[Labelled]:
    with opened(context, _PLAN, _SERVICE, _RECIPE, tmp_path / "scratch") as found:
        yield found


def test_rows_are_what_was_served_with_the_answer_that_counts(labelled: Labelled) -> None:
    found = labelled.rows(0, 300, ["1"])
    assert found["event_key"].to_pylist() == ["10", "12"], (
        "13 was taken back, 11 was scored by a version with other inputs"
    )
    assert found["label"].to_pylist() == [1, 0] and found["subject"].to_pylist() == [1, 0]
    assert found["amount"].to_pylist() == [12.5, 12.5], "the committed row counts, not the request before it"
    assert found["weekend"].to_pylist() == [1.0, 1.0]
    assert found["count"].to_pylist()[0] == 3 and np.isnan(found["count"].to_pylist()[1])
    assert labelled.rows(100, 299, ["1"]).num_rows == 0
    assert labelled.fresh(100, ["1"]) == (1, 0) and labelled.newest_label() == 300


def test_pairs_are_of_one_version_and_one_champion_and_of_their_time(labelled: Labelled) -> None:
    found = labelled.pairs(2, 1, 0, 300)
    assert sorted(zip(found.label.tolist(), found.challenger.tolist(), strict=True)) == [(0, 0.4), (1, 0.9)]
    assert set(found.champion.tolist()) == {0.25}
    assert labelled.pairs(2, 1, 100, 300).challenger.tolist() == [0.4]
    assert labelled.pairs(2, 1, 0, 299).challenger.tolist() == [0.9]
    assert len(labelled.pairs(5, 1, 0, 300).label) == 0


def test_alerts_are_counted_for_both(labelled: Labelled) -> None:
    champion, other = labelled.alerts(2, 1, 0.5, 100)
    assert champion == 0 and other == pytest.approx(2 / 4)
    assert labelled.alerts(8, 1, 0.5, 100) == (0.0, 0.0)


def test_everything_said_of_one_event(context: Context, tmp_path: Path) -> None:
    said = feedback.of_event(context, _SERVICE, _LABELS, _RECIPE, "13", tmp_path / "scratch")
    assert [(one.label, one.known_at) for one in said] == [(1, 400), (None, 500)]
    assert settle(said) is None
    (by_id,) = feedback.of_event(context, _SERVICE, _LABELS, _RECIPE, "12", tmp_path / "scratch")
    assert (by_id.statement_id, by_id.label) == ("by-id", 0)
