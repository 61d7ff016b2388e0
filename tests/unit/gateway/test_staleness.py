"""What is old: a view's own bound marks values, a request's bound refuses."""

from __future__ import annotations

import json

import msgspec
import pytest

from appliance.records import FeatureValue
from gateway.errors import InvalidError, StaleError, UnusableRowError
from gateway.http import problems, requests
from gateway.scorer.intake import Intake
from gateway.scoring import staleness
from gateway.scoring.validate import key_columns
from tests.unit.gateway.example import PLAN, ROW, SERVICE

VIEW = PLAN.views[0].name


def test_a_request_is_refused_older_features_than_it_accepts() -> None:
    staleness.check({VIEW: 500}, 500)
    staleness.check({VIEW: 10**9}, None)
    with pytest.raises(StaleError) as refused:
        staleness.check({VIEW: 501}, 500)
    assert refused.value.context["age_ms"] == {VIEW: 501}
    with pytest.raises(StaleError, match="none yet"):
        staleness.check({VIEW: None}, 10**9)


def test_refused_is_503_with_a_time_to_come_again() -> None:
    with pytest.raises(StaleError) as refused:
        staleness.check({VIEW: 501}, 0)

    class Request:
        method = "POST"

        class url:  # noqa: N801
            path = "/x"

    answer = problems.of_appliance(Request, refused.value)  # type: ignore[arg-type]
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert json.loads(answer.content)["code"] == "features.stale"
    assert isinstance(refused.value, UnusableRowError), "by Kafka it is a dead letter"


def test_a_view_s_ttl_marks_values_that_are_older() -> None:
    view = msgspec.structs.replace(PLAN.views[0], ttl_ms=1000)
    plan = msgspec.structs.replace(PLAN, views=(view, *PLAN.views[1:]))
    values = {
        f"{VIEW}:old": FeatureValue(1, "present", 1001),
        f"{VIEW}:null": FeatureValue(None, "null", 1001),
        f"{VIEW}:missing": FeatureValue(0, "missing", 1001),
        "other:old": FeatureValue(1, "present", 10**9),
        "request:x": FeatureValue(1, "present"),
    }
    bounds = staleness.Bounds(plan)
    assert bounds.old({VIEW: 1000, "other": 10**9}) == frozenset()
    assert bounds.old({VIEW: None}) == frozenset()
    marked = staleness.marked(values, bounds.old({VIEW: 1001, "other": 10**9}))
    assert [value.status for value in marked.values()] == ["stale", "stale", "missing", "present", "present"]
    assert marked[f"{VIEW}:old"].age_ms == 1001


@pytest.mark.parametrize("wrong", [-1, 1.5, "5", True, 10**13])
def test_a_bound_that_is_none_is_named(wrong: object) -> None:
    body = json.dumps({"rows": [ROW], "max_staleness_ms": wrong}).encode()
    with pytest.raises(InvalidError) as caught:
        requests.read(SERVICE, key_columns(PLAN, SERVICE), body, 3)
    assert [fault["field"] for fault in caught.value.context["fields"]] == ["max_staleness_ms"]


def test_both_ways_in_take_the_bound() -> None:
    body = json.dumps({"rows": [ROW], "max_staleness_ms": 250}).encode()
    assert requests.read(SERVICE, key_columns(PLAN, SERVICE), body, 3).max_staleness_ms == 250
    intake = Intake(PLAN, {SERVICE.name: "requests"})
    body = json.dumps({"request_id": "a", "row": ROW, "max_staleness_ms": 250}).encode()
    assert intake.rows("requests", body, 1, 1)[SERVICE.name].max_staleness_ms == 250
    with pytest.raises(UnusableRowError, match="max_staleness_ms"):
        intake.rows("requests", body.replace(b"250", b"-1"), 1, 1)
