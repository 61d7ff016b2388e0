"""A small training in the training environment, from a frame to an ONNX file that says the same as torch."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from appliance import context as contexts
from models.metrics import auc_roc

pytestmark = [pytest.mark.integration, pytest.mark.training]
_CODE = Path(__file__).parents[2]
_ROWS = 3000


def _frame(path: Path) -> None:
    """Two inputs that tell, one that does not; amount has a missing value in a tenth of its rows."""
    random = np.random.default_rng(5)
    amount = random.lognormal(3, 1, _ROWS).astype(np.float32)
    rate = random.random(_ROWS).astype(np.float32)
    label = (random.random(_ROWS) < 1 / (1 + np.exp(8 - 1.2 * np.log1p(amount) - 3 * rate))).astype(np.int8)
    amount[::10] = np.nan
    part = np.repeat(np.array([0, 1, 2], dtype=np.int8), [1800, 600, 600])
    table = {"amount": amount, "rate": rate, "noise": random.random(_ROWS).astype(np.float32)}
    parquet.write_table(pa.table({**table, "label": label, "part": part}), path)


def _train(folder: Path, seed: int) -> Path:
    folder.mkdir()
    _frame(folder / "frame.parquet")
    told = {
        "frame": str(folder / "frame.parquet"), "folder": str(folder), "inputs": ["amount", "rate", "noise"],
        "log": ["amount"], "network": {"hidden": [16], "dropout": 0.1, "members": 2},
        "fit": {"learning_rate": 0.01, "weight_decay": 0.0, "batch_rows": 128, "max_epochs": 8, "patience_epochs": 3,
                "positive_weight": 3.0},
        "seed": seed, "device": "cpu", "threads": 2, "golden_rows": 8,
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(told))
    python = contexts.current().python("training")
    done = subprocess.run(
        (python, "-m", "models.train", str(folder / "spec.json")),
        cwd=folder, env={"PYTHONPATH": str(_CODE), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _train(tmp_path_factory.mktemp("training") / "first", 3)


@pytest.mark.parametrize("module", ["models.train.__main__", "models.metrics"])
def test_training_imports_no_other_room(module: str) -> None:
    ours = {"appliance", "stream_jobs", "feature_repo", "gateway", "installer", "feast", "msgspec"}
    script = f"import sys, {module}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        (contexts.current().python("training"), "-c", script),
        env={"PYTHONPATH": str(_CODE)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & ours


def test_onnx_says_what_torch_says(trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    assert result["torch_onnx_difference"] <= 1e-5
    assert result["missing_share"]["amount"] == pytest.approx(0.1)
    golden = result["golden"]
    assert len(golden["rows"]) == len(golden["scores"]) == 8
    assert all(0 < score < 1 for score in golden["scores"])


def test_it_has_learned_and_is_calibrated(trained: Path) -> None:
    frame = parquet.read_table(trained / "frame.parquet")
    scores = parquet.read_table(trained / "scores.parquet")["score"].to_numpy()
    test = frame["part"].to_numpy() == 2
    labels = frame["label"].to_numpy()[test].astype(np.int64)
    assert auc_roc(labels, scores[test]) > 0.7
    assert scores[test].mean() == pytest.approx(labels.mean(), rel=0.4)


def test_the_file_holds_no_path_and_loads_in_older_runtimes(trained: Path) -> None:
    raw = (trained / "model.onnx").read_bytes()
    model = onnx.load_from_string(raw)
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [21]
    assert model.ir_version <= 10
    assert [value.name for value in model.graph.input] == ["features"]
    assert [value.name for value in model.graph.output] == ["score"]
    for secret in (str(trained), str(_CODE), sys.prefix, "site-packages", "Traceback"):
        assert secret.encode() not in raw
    assert not re.search(rb"\.py\b", raw)
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)


def test_the_same_seed_gives_the_same_file(trained: Path) -> None:
    again = _train(trained.parent / "again", 3)
    assert (again / "model.onnx").read_bytes() == (trained / "model.onnx").read_bytes()
