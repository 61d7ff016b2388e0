"""Everything but training does without torch. That training needs its own environment alone: test_training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = Path(__file__).parents[3]


def _imported(python: str, module: str) -> set[str]:
    """Top-level packages that importing a module brings in."""
    script = f"import sys, {module}; print(' '.join({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        (python, "-c", script), env={"PYTHONPATH": str(_CODE)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["models.pipeline", "models.commands"])
def test_the_rest_does_without_torch_and_feast(module: str) -> None:
    assert not _imported(sys.executable, module) & {"torch", "onnxruntime", "feast"}


def test_the_watch_stays_small() -> None:
    assert not _imported(sys.executable, "appliance.parts.triton_watch") & {"numpy", "grpc", "tritonclient", "feast"}
