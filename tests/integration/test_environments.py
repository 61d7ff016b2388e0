"""Each environment imports its own packages, and no other's."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from appliance.parts.base import Context

pytestmark = pytest.mark.integration

_OWN = {
    "serving": ["feast", "litestar", "confluent_kafka", "redis", "happybase", "opensearchpy", "deltalake", "duckdb",
                "psycopg", "tritonclient.grpc", "onnx", "supervisor", "msgspec"],
    "streaming": ["pyflink.table", "pyflink.datastream"],
    "training": ["torch", "onnxscript", "onnxruntime", "onnx"],
    "triton": ["onnxruntime", "numpy"],
}  # fmt: skip
_NOT = {
    "serving": ["torch", "pyflink", "onnxruntime", "pytest"],
    "streaming": ["feast", "torch", "litestar", "msgspec"],
    "training": ["feast", "pyflink", "litestar", "triton"],
    "triton": ["feast", "pyflink", "torch", "litestar", "pandas"],
}

_TRY = """
import importlib, json, sys
failed = {}
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed[name] = f"{type(error).__name__}: {error}"
print("RESULT" + json.dumps(failed))
"""


def _failed_imports(live: Context, env: str, names: list[str], code: Path | None = None) -> dict[str, str]:
    """Module → error, for those that the environment cannot import."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "APPLIANCE_HOME": str(live.layout.etc.parent)}
    if code is not None:
        environment["PYTHONPATH"] = str(code)
    done = subprocess.run(
        [live.python(env), "-P", "-s", "-c", _TRY, json.dumps(names)],
        env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, f"{env}: {done.stderr[-2000:]}"
    return dict(json.loads(lines[-1].removeprefix("RESULT")))


@pytest.mark.parametrize("env", sorted(_OWN))
def test_it_imports_its_own_packages(live: Context, env: str) -> None:
    assert _failed_imports(live, env, _OWN[env]) == {}


@pytest.mark.parametrize("env", sorted(_NOT))
def test_it_imports_no_other_environments_packages(live: Context, env: str) -> None:
    failed = _failed_imports(live, env, _NOT[env])
    assert sorted(failed) == sorted(_NOT[env]), f"{env} imports {set(_NOT[env]) - failed.keys()}"
    assert all(error.startswith("ModuleNotFoundError") for error in failed.values()), failed


def _our_modules(code: Path) -> list[str]:
    rooms = ("appliance", "feature_repo", "stream_jobs", "models", "gateway")
    files = (path for room in rooms for path in (code / room).rglob("*.py"))
    modules = (path.relative_to(code).with_suffix("") for path in files if path.stem not in ("__main__", "__init__"))
    return sorted(".".join(module.parts) for module in modules)


def _is_of(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def test_each_of_our_modules_imports_where_it_runs_and_the_heavy_ones_nowhere_else(live: Context) -> None:
    """stream_jobs/flink runs in Flink's environment, models/train in torch's, everything else in the serving one."""
    modules = _our_modules(live.layout.code)
    homes: dict[str, list[str]] = {"serving": [], "streaming": [], "training": []}
    for module in modules:
        env = "streaming" if _is_of(module, "stream_jobs.flink") else "serving"
        homes["training" if _is_of(module, "models.train") else env].append(module)
    assert homes["training"], "models/train has no module"
    failures = {env: _failed_imports(live, env, names, live.layout.code) for env, names in homes.items()}
    assert failures == {"serving": {}, "streaming": {}, "training": {}}


def test_the_reads_of_features_are_found_compiled(live: Context) -> None:
    """In the folder that the installer filled and all processes share."""
    told = "from stream_jobs.windows.kernel import compute; s = compute.stats; print(s.cache_misses, len(s.cache_hits))"
    compiled = {"NUMBA_CACHE_DIR": str(live.layout.run / "compiled"), "PYTHONPATH": str(live.layout.code)}
    done = subprocess.run(
        [live.python(), "-P", "-s", "-c", told], env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"} | compiled,
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "Counter() 1"
