"""The served model of the running appliance: right answers, refused changes, a killed backend process."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from appliance import golden
from appliance.clients.triton import TritonClient
from appliance.clients.triton_repository import TritonModelError, TritonRepository, TritonUnavailableError
from appliance.errors import ApplianceError
from appliance.golden import Golden
from appliance.parts.base import Context
from models.errors import DeploymentError
from models.registry import ModelVersion, Registry
from models.serving import Serving

pytestmark = pytest.mark.integration
_MODEL = "card_fraud"
_MENDED_WITHIN_S = 30.0


@pytest.fixture
def champion(live: Context) -> ModelVersion:
    registry = Registry.of(live)
    pointer = registry.champion(_MODEL)
    assert pointer is not None, "the appliance has trained no model"
    return registry.get(_MODEL, pointer.version)


@pytest.fixture
def rows(live: Context) -> Golden:
    return golden.read(live.layout.model_repository / _MODEL)


def test_the_champion_gives_its_golden_scores(live: Context, champion: ModelVersion, rows: Golden) -> None:
    features = np.array(rows.inputs(), dtype=np.float32)
    with TritonClient.of(live) as client:
        scores, version = client.infer(_MODEL, features)
    assert version == str(champion.version) == rows.version
    assert np.abs(scores - np.array(rows.scores)).max() <= 1e-5
    assert scores.shape == (len(rows.rows),)


def test_rows_in_one_request_or_each_alone_score_the_same(live: Context, rows: Golden) -> None:
    features = np.array(rows.inputs(), dtype=np.float32)
    with TritonClient.of(live) as client, ThreadPoolExecutor(8) as threads:
        each = list(threads.map(lambda row: client.infer(_MODEL, row[None, :])[0], features))
        together, _ = client.infer(_MODEL, np.tile(features, (50, 1)))
    assert np.abs(np.concatenate(each) - together[: len(features)]).max() <= 1e-6


def test_missing_values_score(live: Context, champion: ModelVersion) -> None:
    with TritonClient.of(live) as client:
        scores, _ = client.infer(_MODEL, np.full((1, len(champion.inputs)), np.nan, dtype=np.float32))
    assert 0 <= scores[0] <= 1


def test_a_request_that_does_not_fit_is_the_requests_fault(live: Context, champion: ModelVersion) -> None:
    with TritonClient.of(live) as client, pytest.raises(TritonModelError, match="unexpected shape"):
        client.infer(_MODEL, np.zeros((1, len(champion.inputs) + 1), dtype=np.float32))


def test_a_server_that_is_not_there_is_unavailable(rows: Golden) -> None:
    with TritonClient("127.0.0.1:1", 500) as client, pytest.raises(TritonUnavailableError):
        client.infer(_MODEL, np.array(rows.inputs(), dtype=np.float32))


def test_the_record_says_how_good_it_is(champion: ModelVersion) -> None:
    assert champion.evaluation.auc_roc > 0.7
    assert champion.torch_onnx_difference <= 1e-5
    assert champion.triton_difference <= 1e-5
    assert champion.frame.lake_versions.keys() == {
        "main/changes/bank.public.transactions", "main/changes/bank.public.transaction_labels",
    }  # fmt: skip


def test_a_broken_version_is_refused_and_the_champion_goes_on(live: Context, rows: Golden, tmp_path: Path) -> None:
    broken = tmp_path / "model.onnx"
    broken.write_bytes(b"this is no model")
    with pytest.raises(DeploymentError, match=f"version {rows.version} is served again"):
        Serving.of(live).serve(Golden(_MODEL, "999999", rows.rows, rows.scores), broken, keep=(int(rows.version),))
    assert golden.check(TritonRepository.of(live), rows) <= 1e-5
    assert not (live.layout.model_repository / _MODEL / "999999").exists()


def test_a_version_with_wrong_answers_is_refused_before_it_serves(live: Context, rows: Golden) -> None:
    wrong = Golden(_MODEL, "999998", rows.rows, tuple(score / 2 + 0.1 for score in rows.scores))
    onnx = live.layout.model_repository / _MODEL / rows.version / "model.onnx"
    lent = Serving.of(live).lent(wrong, onnx, "candidate")
    with pytest.raises(DeploymentError, match="away from its golden scores"), lent:
        pass
    assert not (live.layout.model_repository / f"{_MODEL}-candidate").exists()
    assert golden.check(TritonRepository.of(live), rows) <= 1e-5


def _stubs(repository: Path) -> list[int]:
    """Backend processes of Triton that serve a model of this repository."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[0].endswith(b"triton_python_backend_stub") and any(str(repository).encode() in w for w in words):
                found.append(int(path.name))
    return found


def test_a_killed_backend_process_is_mended(live: Context, rows: Golden) -> None:
    stubs = _stubs(live.layout.model_repository)
    assert stubs, "no backend process found"
    for pid in stubs:
        os.kill(pid, signal.SIGKILL)
    triton, began = TritonRepository.of(live), time.monotonic()
    with pytest.raises(ApplianceError):
        golden.check(triton, rows)
    while True:
        try:
            golden.check(triton, rows)
            break
        except ApplianceError:
            assert time.monotonic() - began < _MENDED_WITHIN_S, "triton-watch has not mended the model"
            time.sleep(0.2)
