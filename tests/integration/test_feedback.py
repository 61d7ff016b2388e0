"""What is said of events by every way in, settled on the running appliance."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from appliance.clients import postgres
from appliance.parts.base import Context
from appliance.records import DeadLetter, Feedback
from models import events, pipeline
from models.feedback import reading
from models.feedback.settle import Settled, Statement, settle
from stream_jobs import plan as plans
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client(live: Context) -> Iterator[httpx.Client]:
    with api.app_client(live) as made:
        yield made


def _said(context: Context, event_key: str, scratch: Path) -> list[Statement]:
    plan = plans.read(context.layout.plan_file)
    service, recipe = plan.service(api.SERVICE), pipeline.read_recipe(plan.scenario)
    _, labels = events.tables(plan, service, recipe)
    return reading.of_event(context, service, labels, recipe, event_key, scratch / uuid.uuid4().hex)


def _settled(context: Context, event_key: str, scratch: Path, sources: set[str]) -> Settled | None:
    """The answer, once all these kinds of sources are in the lake."""
    said = api.eventually(
        lambda: (found := _said(context, event_key, scratch)) and {one.source for one in found} >= sources and found, 40
    )
    return settle(said)


def test_every_way_in_ends_in_one_answer(live: Context, client: httpx.Client, tmp_path: Path) -> None:
    row = api.payment(live)
    key = str(row["transaction_id"])
    prediction = client.post(api.PREDICT, json={"rows": [row]}).json()["predictions"][0]
    now = api.scenario_now_us(live)
    item = {"prediction_id": prediction["prediction_id"], "label": 1, "feedback_id": f"case-{key}"}
    for _ in range(2):  # the second says nothing new
        answer = client.post("/v1/feedback", json={"service": api.SERVICE, "items": [item]})
        assert answer.status_code == 202 and answer.json() == {"feedback_ids": [f"case-{key}"]}
    said = Feedback(f"system-{key}", api.SERVICE, 0, now, event_key=key)
    api.send(live, live.names.feedback(api.SERVICE), msgspec.json.encode(said))
    both = _settled(live, key, tmp_path, {"http", "kafka"})
    assert both is not None and (both.label, both.source, both.contradicted) == (1, "http", True)
    with postgres.sample(live) as bank:
        bank.execute(
            "insert into transaction_labels (transaction_id, terminal_id, is_fraud, labelled_at)"
            " values (%s, %s, 0, to_timestamp(%s / 1000000.0))",
            (row["transaction_id"], row["terminal_id"], now),
        )
    assert _settled(live, key, tmp_path, {"http", "kafka", "table"}) == Settled(0, now, "table", True)
    with postgres.sample(live) as bank:
        bank.execute("delete from transaction_labels where transaction_id = %s", (row["transaction_id"],))


def test_what_is_no_feedback_is_put_aside_with_its_reason(live: Context) -> None:
    text = f'{{"feedback_id": "{uuid.uuid4()}", "service": "card_fraud", "label": 1, "known_at": 5}}'.encode()
    with api.tail(live, live.names.dead_letters("writer-lake")) as reading_letters:
        api.send(live, live.names.feedback(api.SERVICE), text)
        (raw,) = reading_letters.values(30, lambda found: len(found) >= 1)
    letter = msgspec.json.decode(raw, type=DeadLetter)
    assert letter.code == "lake.broken_feedback" and "event_key" in letter.message
    assert letter.topic == live.names.feedback(api.SERVICE)


def test_who_may_say_something_and_what(live: Context, client: httpx.Client) -> None:
    wrong = client.post("/v1/feedback", json={"service": api.SERVICE, "items": [{"event_key": "1", "label": 7}]})
    assert wrong.status_code == 422 and wrong.headers["content-type"] == "application/problem+json"
    assert wrong.json()["context"]["fields"][0]["field"] == "items[0].label"
    right = {"service": api.SERVICE, "items": [{"event_key": str(time.time_ns()), "label": None}]}
    assert client.post("/v1/feedback", json=right | {"service": "nothing"}).status_code == 404
    assert httpx.post(f"{api.base_url(live)}/v1/feedback", json=right).status_code == 401
    with api.app_client(live, ["another_service"]) as other:
        assert other.post("/v1/feedback", json=right).status_code == 403
