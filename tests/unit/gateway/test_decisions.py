"""Score → decision, vector → matrix, prediction → alert."""

from __future__ import annotations

import math
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import redis

from appliance.records import FeatureValue
from gateway.errors import UnusableRowError
from gateway.scoring import policy
from gateway.scoring.features import Found, Inputs, RequestFunctions
from stream_jobs.online.reader import Vectors
from stream_jobs.online.view_reader import Values
from tests.unit.gateway.example import SERVICE

UNASKED = policy.ReviewCapacity(redis.Redis(port=1), "main", "orders", ZoneInfo("UTC"))
"""Its Redis does not exist: a decision that asked it would fail."""


@pytest.mark.parametrize(
    ("score", "decision"), [(0.0, "approve"), (0.4999, "approve"), (0.9, "decline"), (1.0, "decline")]
)
def test_outside_the_review_band_no_capacity_is_asked(score: float, decision: str) -> None:
    (decided,) = policy.decide(SERVICE.policy, [score], ["7"], UNASKED, 0)
    assert decided.decision == decision
    assert f"{score:.4f}" in decided.reason


def test_a_review_asks_for_capacity() -> None:
    with pytest.raises(redis.ConnectionError):
        policy.decide(SERVICE.policy, [0.5], ["7"], UNASKED, 0)


def test_the_day_is_that_of_the_zone() -> None:
    assert policy.day(1_534_372_200_000_000, ZoneInfo("UTC")) == "2018-08-15"
    assert policy.day(1_534_372_200_000_000, ZoneInfo("Europe/Berlin")) == "2018-08-16"


def test_the_matrix_has_the_services_order_and_nan_for_nothing() -> None:
    made = _found(None).matrix()
    assert made.dtype == np.float32 and made.shape == (1, 4)
    assert made[0, [0, 1, 3]].tolist() == [12.5, 3.0, 0.25]
    assert math.isnan(made[0, 2])


def test_a_list_or_a_text_is_no_input_of_a_model() -> None:
    for value in ([1, 2], "text"):
        with pytest.raises(UnusableRowError, match="input"):
            _found(value).matrix()


def test_a_vector_has_the_request_features_too() -> None:
    vector = _found(1.0).vector(0)
    assert {name: one.value for name, one in vector.features.items()} == {
        "spending:count_7d": 3, "spending:amount_mean_1d": 1.0, "spending:returned_rate_2h": 0.25,
        "request:amount": 12.5,
    }  # fmt: skip


def _found(mean: Any) -> Found:
    values = {"count_7d": 3, "amount_mean_1d": mean, "returned_rate_2h": 0.25}
    of_view = Values(None, {0: {name: FeatureValue(value, "present") for name, value in values.items()}}, [""], 0)
    requested = [{"request:amount": FeatureValue(12.5, "present")}]
    return Found(Inputs(SERVICE), Vectors({"spending": (None, of_view)}, [None]), requested, frozenset())


def test_a_request_feature_that_cannot_be_computed_is_the_rows_fault() -> None:
    functions = RequestFunctions.of(SERVICE)
    assert functions.values({"amount": "12.50"}) == {"request:amount": FeatureValue(12.5, "present")}
    with pytest.raises(UnusableRowError, match="request:amount"):
        functions.values({"amount": None})
