"""Explanations of alerts: what moved the score, in words; and why there is none, without keeping an alert back."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from msgspec.structs import replace

from appliance.clients.triton_repository import TritonUnavailableError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.records import Alert, FeatureValue, Prediction
from appliance.secrets import Secrets
from appliance.settings import Settings
from gateway import words
from gateway.alerts import explainer
from gateway.alerts.explainer import Explainer
from models.registry import Registry
from tests.unit.gateway.example import PLAN, ROW, SERVICE
from tests.unit.models.test_registry import version

_WEIGHTS = np.array([0.01, 0.05, 0.0, -0.2], np.float32)
_FEATURES = {
    "request:amount": FeatureValue(40.0, "present"), "spending:count_7d": FeatureValue(3, "present"),
    "spending:amount_mean_1d": FeatureValue(5.0, "present"), "spending:returned_rate_2h": FeatureValue(None, "null"),
}  # fmt: skip


def _infer(model: str, rows: Any) -> tuple[Any, str]:
    assert len(rows) <= explainer.ROWS_A_CALL
    return np.nan_to_num(rows) @ _WEIGHTS, "1"


def _alert(**changed: Any) -> Alert:
    prediction = Prediction(
        "id", "main", SERVICE.name, "http", "7", "", "r", "app", 0, ROW, _FEATURES, {}, {}, False, 0.55, "review", "",
        "", SERVICE.model, "1", SERVICE.definition_hash, 0, 0, {},
    )  # fmt: skip
    return Alert("a", replace(prediction, **changed))


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """With a version of the model whose training set is ten rows of zeros."""
    made = Context(Layout.below(tmp_path), Installation("0", 1, "root", "main", "test", "", {}, {}), Settings(),
                   Secrets(tmp_path / "secrets"))  # fmt: skip
    names = tuple(feature.partition(":")[2] for feature in SERVICE.features)
    registry = Registry.of(made)
    registry.put(replace(version(1), model=SERVICE.model, inputs=names))
    columns: dict[str, Any] = {name: np.zeros(10) for name in names} | {"part": np.zeros(10, np.int8)}
    parquet.write_table(pa.table(columns), registry.path(SERVICE.model, 1) / "frame.parquet")
    return made


def test_an_alert_says_what_moved_its_score(context: Context) -> None:
    (found,) = Explainer(context, PLAN, _infer).explain([_alert()])
    assert found.reason == "" and found.base == 0.0 and found.gap is not None and found.gap < 1e-6
    assert [one.feature for one in found.contributions[:2]] == ["request:amount", "spending:count_7d"]
    assert [one.moved for one in found.contributions] == pytest.approx([0.4, 0.15, 0.0, 0.0], abs=1e-6)
    assert found.in_words == [
        "Amount (40) raised the score by 40.0 points",
        "Number of orders of the customer in 7 days (3) raised the score by 15.0 points",
        "Rows of the training set score 0.0 on average; this one 55.0 of 100 points",
    ]
    assert found == replace(Explainer(context, PLAN, _infer).explain([_alert()])[0], spent_ms=found.spent_ms)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"definition_hash": "other"}, "definition has changed"),
        ({"service": "none"}, "definition has changed"),
        ({"model_version": "2"}, "no version 2"),
        ({"model_version": "x"}, "no version of the registry"),
        ({"features": {}}, "no value of request:amount"),
        ({"features": _FEATURES | {"request:amount": FeatureValue([1.0], "present")}}, "no model input"),
    ],
)
def test_why_there_is_none_is_said(context: Context, changed: dict[str, Any], reason: str) -> None:
    (found,) = Explainer(context, PLAN, _infer).explain([_alert(**changed)])
    assert reason in found.reason and found.contributions == []


def test_another_version_that_serves_now_explains_nothing(context: Context) -> None:
    (found,) = Explainer(context, PLAN, lambda model, rows: (_infer(model, rows)[0], "2")).explain([_alert()])
    assert found.reason == "version 2 serves now, version 1 scored it"


def test_a_server_that_is_away_is_asked_once(context: Context) -> None:
    asked = []

    def away(model: str, rows: Any) -> tuple[Any, str]:
        asked.append(model)
        raise TritonUnavailableError("triton.unavailable", "gone")

    found = Explainer(context, PLAN, away).explain([_alert()] * 3)
    assert [one.reason for one in found] == ["the model server did not answer: gone"] * 3 and len(asked) == 1


def test_many_alerts_at_once_are_filed_in_time(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explainer, "BUDGET_SECONDS", 0.05)

    def slow(model: str, rows: Any) -> tuple[Any, str]:
        time.sleep(0.06)
        return _infer(model, rows)

    found = Explainer(context, PLAN, slow).explain([_alert()] * 3)
    assert [bool(one.reason) for one in found] == [False, True, True] and "at once" in found[1].reason


def test_what_is_too_small_to_tell_is_not_said() -> None:
    assert words.worth_saying(0.01, 0.001) and not words.worth_saying(0.01, 0.006)
    assert not words.worth_saying(0.0001, 0.0)
    assert words.moved("Amount", None, -0.031) == "Amount (nothing known) lowered the score by 3.1 points"
    assert words.moved("Amount", 2.345, 0.5).startswith("Amount (2.35) raised")
