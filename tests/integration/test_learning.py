"""Versions in shadow, promoted and taken back by command, while predictions are asked for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from appliance import golden
from appliance.parts.base import Context
from appliance.records import ShadowScore
from gateway import managers
from gateway.console import users
from models import events, pipeline
from models import standing as standings
from models.feedback import reading
from models.registry import ModelVersion, Registry
from stream_jobs import plan as plans
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration
_MODEL = "card_fraud"


def _model(context: Context, *words: str) -> Any:
    done = subprocess.run(
        [context.layout.bin / "appliance", "model", *words, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def twin(live: Context) -> Iterator[ModelVersion]:
    """A version beside the champion that gives the champion's scores; gone, and all as it was, after the test."""
    registry = Registry.of(live)
    pointer = registry.champion(_MODEL)
    assert pointer is not None
    record = registry.get(_MODEL, pointer.version)
    version = registry.next_version(_MODEL)
    folder = registry.path(_MODEL, version)
    shutil.copytree(registry.path(_MODEL, record.version), folder)
    rows = golden.read(folder)
    golden.write(msgspec.structs.replace(rows, version=str(version)), folder)
    made = msgspec.structs.replace(record, version=version, refused="")
    registry.put(made)
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, live.installation.user)
    yield made
    after = registry.champion(_MODEL)
    assert after is not None and after.version == record.version, "the test has put the champion back"
    registry.set_champion(_MODEL, pointer)
    for role in standings.ROLES:
        if standings.read(registry, _MODEL).of(role) is not None:
            _model(live, "drop", _MODEL, role)
    shutil.rmtree(folder)


@contextmanager
def _asking(context: Context, client: httpx.Client) -> Iterator[Counter[str]]:
    """Predictions asked for by two callers without a pause: answers by model version, failures by status."""
    found: Counter[str] = Counter()
    stop = threading.Event()
    row = api.payment(context)

    def ask() -> None:
        while not stop.is_set():
            answer = client.post(api.PREDICT, json={"rows": [row]})
            found[answer.json()["model_version"] if answer.status_code == 200 else f"failed {answer.text}"] += 1

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_challenger_scores_in_shadow_and_is_promoted_and_taken_back_without_a_failure(
    live: Context, twin: ModelVersion
) -> None:
    with api.app_client(live) as client, api.tail(live, live.names.shadow(api.SERVICE)) as shadow:
        standing = _model(live, "challenge", _MODEL, str(twin.version), "--why", "test")
        assert standing["challenger"]["version"] == twin.version
        row = api.payment(live)
        served = client.post(api.PREDICT, json={"rows": [row]}).json()["predictions"][0]

        def mine(values: list[bytes]) -> list[ShadowScore]:
            scores = (msgspec.json.decode(value, type=ShadowScore) for value in values)
            return [one for one in scores if one.prediction_id == served["prediction_id"]]

        scores = mine(shadow.values(30, lambda values: bool(mine(values))))
        assert [(one.version, one.event_key) for one in scores] == [(str(twin.version), served["event_key"])]
        assert scores[0].score == pytest.approx(served["score"], abs=1e-6)
        assert scores[0].champion_score == served["score"]
        with _asking(live, client) as answers:
            _model(live, "promote", _MODEL, str(twin.version), "--why", "test")
            api.eventually(lambda: answers[str(twin.version)] > 20)
            former = _model(live, "standing", _MODEL)["former"]["version"]
            _model(live, "rollback", _MODEL, "--why", "test")
            before = answers[str(former)]
            api.eventually(lambda: answers[str(former)] > before + 20)
    assert answers.keys() == {str(twin.version), str(former)}, "every request was answered"
    acts = _model(live, "acts", _MODEL)
    assert [act["act"] for act in acts[:3]] == ["model.rollback", "model.promote", "model.challenge"]
    assert all(act["details"]["why"] == "test" for act in acts[:3])
    assert acts[1]["details"]["version"] == twin.version and acts[1]["details"]["instead_of"] == former


def test_a_frozen_model_is_left_alone_and_says_so(live: Context) -> None:
    assert _model(live, "freeze", _MODEL)["frozen"]
    try:
        assert _model(live, "learn", _MODEL) == []
    finally:
        assert not _model(live, "unfreeze", _MODEL)["frozen"]


def test_who_may_change_a_model_by_http(live: Context) -> None:
    with api.app_client(live) as client:
        acts = f"/v1/models/{_MODEL}/acts"
        refused = client.post(acts, json={"act": "freeze"})
        assert refused.status_code == 403 and refused.json()["code"] == "access.models"
        managers.add(live, client.headers["X-App-Id"])
        assert client.post(acts, json={"act": "nothing"}).status_code == 400
        assert client.post(acts, json={"act": "promote"}).status_code == 422
        assert client.post(acts, json={"act": "promote", "version": 987654}).status_code == 404
        assert client.post(acts, json={"act": "drop_challenger"}).status_code == 409
        assert client.post("/v1/models/nothing/acts", json={"act": "freeze"}).status_code == 404
        frozen = client.post(acts, json={"act": "freeze", "why": "by test"}).json()
        assert frozen["frozen"] and frozen["acts"][0]["who"] == client.headers["X-App-Id"]
        (standing,) = [one for one in client.get("/v1/standings").json() if one["model"] == _MODEL]
        assert standing["frozen"] and standing["acts"][0]["details"]["why"] == "by test"
        assert not client.post(acts, json={"act": "unfreeze"}).json()["frozen"]


def test_a_person_acts_and_speaks_at_the_console_with_the_sessions_own_form(live: Context, tmp_path: Path) -> None:
    with httpx.Client(base_url=api.base_url(live), timeout=20) as console:
        login = _csrf(console.get("/login").text)
        password = live.secrets.get(users.SECRET)
        console.post("/login", data={"csrf": login, "name": "admin", "password": password})
        csrf = _csrf(console.get("/console/learning").text)
        form = {"model": _MODEL, "act": "freeze", "why": "from the page"}
        assert console.post("/console/learning", data=form).status_code == 403
        assert console.post("/console/learning", data=form | {"csrf": csrf}).status_code == 303
        page = console.get("/console/learning").text
        assert "Frozen: only a person changes it." in page and "console:admin" in page
        assert console.post("/console/learning", data=form | {"csrf": csrf, "act": "unfreeze"}).status_code == 303
        told = console.post("/console/learning", data=form | {"csrf": csrf, "act": "drop_challenger"})
        assert "no%20challenger" in told.headers["location"]
        key = str(time.time_ns())
        words = {"service": api.SERVICE, "event_key": key, "said": "fraud"}
        assert console.post("/console/feedback", data=words).status_code == 403
        assert console.post("/console/feedback", data=words | {"csrf": csrf}).status_code == 202
    plan = plans.read(live.layout.plan_file)
    service, recipe = plan.service(api.SERVICE), pipeline.read_recipe(plan.scenario)
    _, labels = events.tables(plan, service, recipe)
    said = api.eventually(lambda: reading.of_event(live, service, labels, recipe, key, tmp_path), 40)
    assert [(one.source, one.label) for one in said] == [("console", 1)]


def _csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found is not None
    return found[1]
