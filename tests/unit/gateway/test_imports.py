"""The processes stay small: none of them imports Feast or pandas."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    ["gateway.scorer.__main__", "gateway.alerter.__main__", "gateway.http.__main__", "gateway.learner.__main__"],
)
def test_no_heavy_library_is_imported(module: str) -> None:
    code = (
        f"import sys, {module}; print(sorted({{'feast', 'pandas', 'torch', 'duckdb', 'pyarrow'}} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
