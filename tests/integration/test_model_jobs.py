"""Jobs of the running appliance's queue: a model brought in, one refused, a killed trainer, the pages of models."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from appliance.parts.base import Context
from appliance.supervisor import Supervisor
from gateway.console import users
from models.jobs.queue import Job, Queue
from models.jobs.worker import NAME
from models.registry import Registry
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration
_MODEL = "card_fraud"
_WITHIN_S = 240.0
_LOGISTIC = """
import json, sys
from pathlib import Path
import numpy as np
import pyarrow.parquet as parquet
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
folder = Path(sys.argv[1])
inputs = json.loads((folder / "model.json").read_text())["inputs"]
frame = parquet.read_table(folder / "frame.parquet")
past = frame.filter(np.asarray(frame["part"]) < 2)
x = np.stack([past[name].to_numpy() for name in inputs], axis=1)
model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression(max_iter=300))
model.fit(x, past["label"].to_numpy())
made = to_onnx(
    model, initial_types=[("X", FloatTensorType([None, len(inputs)]))], options={"zipmap": False}, target_opset=21
)
Path(sys.argv[2]).write_bytes(made.SerializeToString())
"""


def _appliance(live: Context, *words: str, status: int = 0) -> Any:
    done = subprocess.run(
        [live.layout.bin / "appliance", *words, "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def mine(live: Context, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A logistic regression of the champion's training set, as docs/models.md has it for a forest."""
    folder = tmp_path_factory.mktemp("mine")
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)
    registry = Registry.of(live)
    champion = registry.champion(_MODEL)
    assert champion is not None
    target = folder / "mine.onnx"
    subprocess.run(
        [live.python("training"), "-c", _LOGISTIC, registry.path(_MODEL, champion.version), target], check=True
    )  # fmt: skip
    target.chmod(0o644)
    return target


@pytest.fixture
def as_before(live: Context) -> Iterator[None]:
    """Versions that a test makes are taken away again."""
    registry = Registry.of(live)
    before = registry.numbers(_MODEL)
    yield
    for number in set(registry.numbers(_MODEL)) - set(before):
        shutil.rmtree(registry.path(_MODEL, number))


def _until(queue: Queue, number: int, wanted: Callable[[Job], bool]) -> Job:
    began = time.monotonic()
    while not wanted(job := queue.get(number)):
        assert time.monotonic() - began < _WITHIN_S, f"{job}\n{queue.log(number).read_text()}"
        time.sleep(0.2)
    return job


def test_a_model_brought_in_is_a_candidate_although_the_trainer_was_killed(
    live: Context, mine: Path, as_before: None
) -> None:
    queued = _appliance(live, "model", "import", _MODEL, "--onnx", str(mine), "--no-wait")
    assert _appliance(live, "model", "import", _MODEL, "--onnx", str(mine), "--no-wait")["id"] == queued["id"]
    queue = Queue.of(live)
    _until(queue, queued["id"], lambda job: job.state == "running")
    trainer = Supervisor(live).state(NAME)
    assert trainer is not None
    os.kill(trainer.pid, signal.SIGKILL)
    job = _until(queue, queued["id"], lambda job: job.ended)
    assert (job.state, job.attempts) == ("done", 2), job.error
    assert job.result is not None
    shown = _appliance(live, "model", "show", _MODEL, str(job.result["version"]))
    assert (shown["state"], shown["origin"]) == ("candidate", "imported")
    names = [check["name"] for check in shown["checks"]]
    assert {"Triton = onnxruntime", "latency"} <= set(names)
    assert shown["triton_difference"] <= 1e-5
    assert shown["evaluation"]["auc_roc"] > 0.7
    assert shown["baseline"]["kind"] == "gradient_boosting"
    assert 0 < shown["latency_p99_ms"] < 1_000
    assert all(shown["frame"]["positions"].values())


def test_a_model_that_does_not_fit_is_refused_with_the_reason(live: Context, mine: Path, as_before: None) -> None:
    broken = mine.with_name("broken.onnx")
    broken.write_bytes(b"this is no model")
    broken.chmod(0o644)
    before = Registry.of(live).numbers(_MODEL)
    error = _appliance(live, "model", "import", _MODEL, "--onnx", str(broken), status=1)["error"]
    assert error["code"] == "import.refused"
    assert "no valid ONNX model" in error["message"]
    assert Registry.of(live).numbers(_MODEL) == before
    assert Queue.of(live).latest(1)[0].state == "failed"


def test_a_training_can_be_cancelled(live: Context, as_before: None) -> None:
    queued = _appliance(live, "model", "train", _MODEL, "--seed", "9", "--no-promote", "--no-wait")
    queue = Queue.of(live)
    _until(queue, queued["id"], lambda job: job.state == "running")
    _appliance(live, "model", "cancel", str(queued["id"]))
    assert _until(queue, queued["id"], lambda job: job.ended).state == "cancelled"
    listed = _appliance(live, "model", "jobs")
    assert (listed[0]["id"], listed[0]["state"]) == (queued["id"], "cancelled")


def test_versions_and_plots_are_at_the_api(live: Context) -> None:
    champion = Registry.of(live).champion(_MODEL)
    assert champion is not None
    with api.app_client(live) as client, api.app_client(live, ["another"]) as stranger:
        views = client.get("/v1/models").json()
        (view,) = [each for each in views if each["state"] == "champion"]
        assert (view["model"], view["version"]) == (_MODEL, champion.version)
        assert view["plots"] == ["loss", "precision_recall", "reliability"]
        path = f"/v1/models/{_MODEL}/versions/{champion.version}"
        assert client.get(path).json()["evaluation"]["auc_roc"] == view["auc_roc"]
        plot = client.get(f"{path}/plots/loss")
        assert plot.headers["content-type"].startswith("image/svg+xml")
        assert b"<svg" in plot.content
        assert stranger.get("/v1/models").json() == []
        assert [stranger.get(each).status_code for each in (path, f"{path}/plots/loss")] == [403, 403]
        for wrong in (f"/v1/models/{_MODEL}/versions/99999", "/v1/models/..%2f/versions/1", f"{path}/plots/model"):
            assert client.get(wrong).status_code in (400, 404)


def test_the_console_shows_a_version_with_its_plots(live: Context, browser: webdriver.Chrome) -> None:
    browser.get(api.base_url(live) + "/login")
    browser.find_element(By.NAME, "password").send_keys(live.secrets.get(users.SECRET))
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.LINK_TEXT, "Models"))
    browser.get(api.base_url(live) + "/console/models")
    champion = Registry.of(live).champion(_MODEL)
    assert champion is not None
    browser.find_element(By.CSS_SELECTOR, f'a[href="/console/models/{_MODEL}/{champion.version}"]').click()
    plots = WebDriverWait(browser, 30).until(lambda b: b.find_elements(By.CSS_SELECTOR, "img.plot"))
    assert len(plots) == 3
    WebDriverWait(browser, 30).until(
        lambda b: b.execute_script("return [...document.querySelectorAll('img.plot')].every(i => i.naturalWidth > 100)")
    )
    assert "champion" in browser.find_element(By.TAG_NAME, "h1").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1280
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
