"""Freshness on the running appliance: what command, API and Prometheus say; requests that refuse stale values."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable

import httpx
import msgspec
import pytest

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from appliance.records import DeadLetter
from appliance.supervisor import Supervisor
from stream_jobs import plan as plans
from stream_jobs.freshness.measure import STORES, Freshness
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


def _appliance(live: Context, *words: str) -> str:
    command = [str(live.layout.bin / "appliance"), *words]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout


def _until(what: str, true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s until {what}"
        time.sleep(0.2)


def test_the_command_the_api_and_prometheus_say_the_same(live: Context) -> None:
    expected = {
        (view.name, view.version, store) for view in plans.read(live.layout.plan_file).computed for store in STORES
    }
    told = msgspec.json.decode(_appliance(live, "freshness", "--json"), type=Freshness)
    assert {(one.view, one.version, one.store) for one in told.views} == expected
    assert all(one.position and one.age_ms is not None and one.lag_records < 1000 for one in told.views)
    with api.app_client(live) as client:
        answer = client.get("/v1/freshness")
        assert answer.status_code == 200
        served = msgspec.json.decode(answer.content, type=Freshness)
        assert {(one.view, one.version, one.store) for one in served.views} == expected
        metrics = client.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    for view, version, store in expected:
        labels = f'{{view="{view}",version="{version}",store="{store}"}}'
        for name in ("appliance_reached_age_seconds", "appliance_lag_records", "appliance_stale"):
            assert f"\n{name}{labels} " in metrics.text
    for path in ("/v1/freshness", "/metrics"):
        assert httpx.get(api.base_url(live) + path).status_code == 401


def test_a_request_refuses_features_older_than_it_accepts(live: Context) -> None:
    """With the writer of Redis stopped: HTTP and Kafka refuse, a request without a bound is scored all the same."""
    with api.app_client(live) as client:

        def ask(**more: object) -> httpx.Response:
            return client.post(api.PREDICT, json={"rows": [api.payment(live)], **more})

        assert ask(max_staleness_ms=3_600_000).status_code == 200
        writer = Supervisor(live).states()["writer-redis"].pid
        os.kill(writer, signal.SIGSTOP)
        try:
            _until("the features are old", lambda: ask(max_staleness_ms=2_000).status_code == 503)
            refused = ask(max_staleness_ms=2_000)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            problem = refused.json()
            assert problem["code"] == "features.stale"
            assert all(age > 2_000 for age in problem["context"]["age_ms"].values())
            assert ask().status_code == 200
            assert _dead_letter(live, api.payment(live)) == "features.stale"
        finally:
            os.kill(writer, signal.SIGCONT)
        _until("the features are fresh again", lambda: ask(max_staleness_ms=20_000).status_code == 200)


def _dead_letter(live: Context, row: dict[str, object]) -> str:
    """The code of the dead letter that comes of a request with a bound."""
    consumer = kafka.from_end(live, users.ADMINISTRATOR, "main.test.freshness", live.names.dead_letters("scorer"))
    producer = kafka.producer(live, users.ADMINISTRATOR)
    request = uuid.uuid4().hex
    body = {"request_id": request, "row": row, "max_staleness_ms": 2_000}
    producer.produce(live.names.requests(api.SERVICE), json.dumps(body, default=str).encode())
    producer.flush(10)
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                return msgspec.json.decode(message.value() or b"", type=DeadLetter).code
        return "none came"
    finally:
        consumer.close()
