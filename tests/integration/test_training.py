"""A small training in the training environment, from a frame to an ONNX file that says the same as torch."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
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


def _spec(folder: Path, seed: int, **more: object) -> Path:
    """A folder with a frame and ``spec.json``."""
    folder.mkdir()
    _frame(folder / "frame.parquet")
    told = {
        "frame": str(folder / "frame.parquet"), "folder": str(folder), "inputs": ["amount", "rate", "noise"],
        "log": ["amount"], "network": {"hidden": [16], "dropout": 0.1, "members": 2},
        "fit": {"learning_rate": 0.01, "weight_decay": 0.0, "batch_rows": 128, "max_epochs": 8, "patience_epochs": 3,
                "positive_weight": 3.0},
        "seed": seed, "device": "cpu", "threads": 2, "golden_rows": 8,
        "trees": {"count": 20, "quotients": [["amount", "rate"]], "products": [["rate", "noise"]]},
        "baseline": "gradient_boosting",
    }  # fmt: skip
    (folder / "spec.json").write_text(json.dumps(told | more))
    return folder


def _run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``python -m WORDS`` in the training environment."""
    return subprocess.run(
        (contexts.current().python("training"), "-m", *words),
        cwd=folder, env={"PYTHONPATH": str(_CODE), "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def _train(folder: Path, seed: int, **more: object) -> Path:
    _spec(folder, seed, **more)
    done = _run(folder, "models.train", "spec.json")
    assert done.returncode == 0, done.stderr
    return folder


def _auc(folder: Path, column: str = "score") -> float:
    """Of the test rows."""
    frame = parquet.read_table(folder / "frame.parquet")
    test = frame["part"].to_numpy() == 2
    scores = parquet.read_table(folder / "scores.parquet")[column].to_numpy()
    return auc_roc(frame["label"].to_numpy()[test].astype(np.int64), scores[test])


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


def test_the_same_plots_too(trained: Path) -> None:
    again = trained.parent / "again"
    for name in ("loss", "reliability", "precision_recall"):
        plot = (trained / f"{name}.svg").read_text()
        assert "<svg" in plot
        assert plot == (again / f"{name}.svg").read_text()


def test_its_curves_and_where_its_time_went_are_told(trained: Path) -> None:
    result = json.loads((trained / "result.json").read_text())
    assert len(result["curves"]) == 2
    for curve, epochs in zip(result["curves"], result["epochs"], strict=True):
        precision = curve["tail_average_precision"]
        assert len(curve["fit_loss"]) == len(curve["tail_loss"]) == len(precision) <= 8
        assert precision[epochs - 1] == max(precision)
        assert curve["fit_loss"][-1] < curve["fit_loss"][0]
    assert {"read", "prepare", "transfer", "train", "judge", "trees", "export", "baseline"} <= result["phases"].keys()


def test_the_baseline_is_scikit_learns_own(trained: Path) -> None:
    """And the trees inside the model say what it says: the graph was compared with torch, torch here with its maker."""
    script = """
import sys, numpy as np, torch
from pathlib import Path
from models.train import spec, trees
told = spec.read(Path("spec.json")); data = spec.arrays(told); past = data.part != spec.TEST
fitted = trees.fit(told.trees, told.inputs, data.x[past], data.y[past], told.seed)
x = np.concatenate([data.x, np.full((1, 3), np.nan, np.float32)])
splits = np.concatenate([each[0].nodes["num_threshold"][:1] for each in fitted.model._predictors]).astype(np.float32)
x = np.concatenate([x, np.tile(splits[:, None], (1, 3))])
x[::50, 1] = 0
print(np.abs(trees.Trees.of(fitted)(torch.from_numpy(x))[:, 0].numpy() - fitted.logits(x)).max())
"""
    done = subprocess.run(
        (contexts.current().python("training"), "-c", script), cwd=trained, env={"PYTHONPATH": str(_CODE)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 1e-5
    assert _auc(trained, "baseline") > 0.7


def test_mixed_precision_learns_the_same_and_exports_float32(trained: Path) -> None:
    """On a CPU, with the code that a GPU runs."""
    mixed = _train(trained.parent / "mixed", 3, precision="bfloat16", baseline="logistic_regression")
    assert json.loads((mixed / "result.json").read_text())["torch_onnx_difference"] <= 1e-5
    assert _auc(mixed) == pytest.approx(_auc(trained), abs=0.02)
    assert _auc(mixed, "baseline") > 0.7


_SKLEARN = """
import sys, numpy as np, pyarrow.parquet as parquet
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
frame = parquet.read_table("frame.parquet").filter(parquet.read_table("frame.parquet")["part"].to_numpy() < 2)
x = np.stack([frame[name].to_numpy() for name in ("amount", "rate", "noise")], axis=1)
model = make_pipeline(*([SimpleImputer()] if sys.argv[1] == "imputed" else []), LogisticRegression())
model.fit(np.nan_to_num(x) if sys.argv[1] == "raw" else x, frame["label"].to_numpy())
options = {id(model): {"zipmap": sys.argv[2] == "zipmap"}}
made = to_onnx(model, initial_types=[("X", FloatTensorType([None, 3]))], options=options, target_opset=21)
open("mine.onnx", "wb").write(made.SerializeToString())
"""


@pytest.mark.parametrize(
    ("imputed", "zipmap", "refused"),
    [("imputed", "tensor", ""), ("imputed", "zipmap", "zipmap"), ("raw", "tensor", "are missing (NaN) in those rows")],
)
def test_a_model_of_scikit_learn_is_adopted_or_refused_with_the_reason(
    tmp_path: Path, imputed: str, zipmap: str, refused: str
) -> None:
    folder = _spec(tmp_path / "mine", 3, baseline="none")
    done = subprocess.run(
        (contexts.current().python("training"), "-c", _SKLEARN, imputed, zipmap), cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = _run(folder, "models.train.adopt", "spec.json", "mine.onnx")
    if refused:
        assert done.returncode == 3
        assert refused in json.loads(done.stdout.splitlines()[-1])["why"]
        return
    assert done.returncode == 0, done.stderr
    model = onnx.load(folder / "model.onnx")
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["features", "score"]
    assert json.loads((folder / "result.json").read_text())["torch_onnx_difference"] <= 1e-6
    assert _auc(folder) > 0.7


def test_a_run_is_kept_in_the_store_of_runs(trained: Path, tmp_path: Path) -> None:
    run = {
        "store": f"sqlite:///{tmp_path / 'runs.db'}", "artifacts": (tmp_path / "runs").as_uri(), "experiment": "m",
        "name": "m 1", "created_at_ms": 1_000, "params": {"seed": 3}, "metrics": {"auc_roc": 0.9},
        "steps": {"network_1_fit_loss": [0.5, 0.4]}, "tags": {"delta.version.t": 12}, "folder": str(trained),
    }  # fmt: skip
    (tmp_path / "run.json").write_text(json.dumps(run))
    done = _run(tmp_path, "models.train.runs", "run.json")
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "runs.db")) as store:
        assert store.execute("SELECT key, value FROM params").fetchall() == [("seed", "3")]
        assert store.execute("SELECT value FROM tags WHERE key = 'delta.version.t'").fetchall() == [("12",)]
        steps = store.execute("SELECT step, value FROM metrics WHERE key = 'network_1_fit_loss' ORDER BY step")
        assert steps.fetchall() == [(1, 0.5), (2, 0.4)]
    assert [path.name for path in sorted(tmp_path.glob("runs/*/artifacts/model.onnx"))] == ["model.onnx"]
