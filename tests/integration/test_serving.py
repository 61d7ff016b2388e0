"""Batches, the spool and limits on the running appliance: nothing is lost, nothing is scored twice, time is told."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import msgspec
import pytest

from appliance.parts.base import Context
from appliance.records import Prediction
from appliance.supervisor import Supervisor
from gateway import apps
from gateway.apps import AppLimits
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client(live: Context) -> Iterator[httpx.Client]:
    with api.app_client(live) as made:
        yield made


@contextmanager
def _limited(context: Context, limits: AppLimits) -> Iterator[httpx.Client]:
    app, token = apps.create(context, "limited", None, 1, limits)
    headers = {"X-App-Id": app.id, "Authorization": f"Bearer {token}"}
    try:
        with httpx.Client(base_url=api.base_url(context), headers=headers, timeout=20) as made:
            yield made
    finally:
        apps.revoke(context, app.id)


@contextmanager
def _standing_still(context: Context, part: str) -> Iterator[None]:
    """The part's process is stopped, as one that hangs."""
    pid = Supervisor(context).states()[part].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_answer_says_where_its_time_went(live: Context, client: httpx.Client) -> None:
    body = {"rows": [api.payment(live)], "explain_time": True}
    answer = client.post(api.PREDICT, json=body).json()
    spent = answer["spent_us"]
    steps = ["parse", "queue", "features", "model", "decision", "ledger", "deliver", "total"]
    assert list(spent) == steps
    assert 0 < sum(spent[step] for step in steps[:-1]) <= spent["total"] + len(steps)
    assert client.post(api.PREDICT, json={"rows": [api.payment(live)]}).json()["spent_us"] == {}
    text = client.get("/metrics").text
    assert 'appliance_scoring_step_seconds_bucket{service="card_fraud",way="http",step="model",le="+Inf"}' in text
    assert "appliance_spool_bytes" in text and "appliance_requests_refused_total" in text


def _told(answer: httpx.Response) -> tuple[object, ...]:
    """What an answer says, without what is new in each: numbers, times, the request's id."""
    said = answer.json()
    for one in said.get("predictions", []):
        del one["prediction_id"]
        one["features"] = {name: (feature["value"], feature["status"]) for name, feature in one["features"].items()}
        del one["cuts"]
    said.pop("request_id", None)
    if said.get("code") == "features.stale":
        said = said["code"]  # the rest says how old they are now
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "content-length")}
    return answer.status_code, headers, said


def test_the_lane_and_the_long_way_say_the_same(live: Context, client: httpx.Client) -> None:
    row = api.payment(live)
    good = msgspec.json.encode({"rows": [row]})
    service = api.PREDICT.split("/")[3]
    strange = {"X-App-Id": client.headers["X-App-Id"], "Authorization": "Bearer wrong"}
    asked: list[tuple[str, bytes, dict[str, str]]] = [
        (service, good, {}),
        (service, b"{", {}),
        (service, b'{"rows": [], "colour": 1}', {}),
        (service, msgspec.json.encode({"rows": [row | {"tx_amount": "much"}]}), {}),
        (service, msgspec.json.encode({"rows": [row], "max_staleness_ms": 0}), {}),
        ("nothing", good, {}),
        (service, good, strange),
    ]
    assert client.get("/v1/services").status_code == 200, "the gateway knows the app from now on"
    seen = set()
    for name, body, headers in asked:
        path = f"/v1/services/{name}/predict"
        short = _told(client.post(path, content=body, headers=headers))
        long = _told(client.post(f"{path}?long=", content=body, headers=headers))
        assert short == long
        seen.add(short[0])
    assert seen >= {200, 400, 401, 404, 422}
    with api.app_client(live, ["another"]) as other:
        other.get("/v1/services")
        assert _told(other.post(api.PREDICT, content=good)) == _told(other.post(f"{api.PREDICT}?long=", content=good))
        assert other.post(api.PREDICT, content=good).status_code == 403


def test_requests_at_the_same_time_each_get_their_own_answer(live: Context, client: httpx.Client) -> None:
    rows = [api.payment(live) | {"tx_amount": f"{number}.25"} for number in range(1, 33)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda row: client.post(api.PREDICT, json={"rows": [row]}), rows))
    assert {answer.status_code for answer in answers} == {200}
    for row, answer in zip(rows, answers, strict=True):
        (scored,) = answer.json()["predictions"]
        assert scored["event_key"] == str(row["transaction_id"])
        assert scored["features"]["request:amount"]["value"] == float(row["tx_amount"])


def test_while_kafka_hangs_requests_are_answered_and_recorded_once_afterwards(
    live: Context, client: httpx.Client
) -> None:
    rows = [api.payment(live) for _ in range(3)]
    bodies = [{"rows": [row], "request_id": f"test-{row['transaction_id']}"} for row in rows]
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading:
        with _standing_still(live, "kafka"):
            answers = [client.post(api.PREDICT, json=bodies[0])]
            time.sleep(1.5)
            answers += [client.post(api.PREDICT, json=body) for body in (*bodies[1:], bodies[0])]
            assert [answer.status_code for answer in answers] == [200] * 4
            assert answers[3].json()["repeated"]
            assert answers[3].json()["predictions"] == answers[0].json()["predictions"]
        wanted = [answer.json()["predictions"][0]["prediction_id"] for answer in answers[:3]]

        def recorded(values: list[bytes]) -> list[str]:
            made = [msgspec.json.decode(value, type=Prediction) for value in values]
            return [one.prediction_id for one in made if one.prediction_id in wanted]

        values = reading.values(30, lambda values: len(recorded(values)) >= len(wanted))
        assert sorted(recorded(values)) == sorted(wanted)
    again = client.post(api.PREDICT, json=bodies[1]).json()
    assert again["repeated"] and again["predictions"] == answers[1].json()["predictions"]


def test_an_app_has_its_limits(live: Context) -> None:
    with _limited(live, AppLimits(requests_per_second=2, rows_per_second=5)) as client:
        answers = [client.post(api.PREDICT, json={"rows": [api.payment(live)]}) for _ in range(8)]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert answers[0].status_code == 200 and refused
        assert refused[0].json()["code"] == "limit.requests_per_second"
        assert int(refused[0].headers["Retry-After"]) >= 1
        time.sleep(1)
        many = [api.payment(live) for _ in range(20)]
        assert client.post(api.PREDICT, json={"rows": many}).status_code == 200
        answer = client.post(api.PREDICT, json={"rows": many[:1]})
        assert (answer.status_code, answer.json()["code"]) == (429, "limit.rows_per_second")


def test_what_comes_too_late_is_told_so(live: Context, client: httpx.Client) -> None:
    row = api.payment(live)
    with _standing_still(live, "redis"):
        began = time.monotonic()
        answer = client.post(api.PREDICT, json={"rows": [row], "timeout_ms": 200})
        took = time.monotonic() - began
    assert answer.status_code in (503, 504), answer.text
    assert took < 1.5
