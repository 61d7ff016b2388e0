"""A call of a library that should end and does not must not leave a process that stands still."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gateway.scorer.transactions import bounded

_HANGS = """
import threading
from gateway.scorer.transactions import bounded

def waits_for_ever():
    threading.Event().wait()

with bounded(0.5):
    waits_for_ever()
"""


def test_a_block_that_does_not_end_ends_the_process_and_shows_where_it_was() -> None:
    done = subprocess.run([sys.executable, "-c", _HANGS], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "waits_for_ever" in done.stderr


def test_a_block_that_ends_leaves_no_limit_behind() -> None:
    go_on = "from gateway.scorer.transactions import bounded\nimport time\nwith bounded(0.3): pass\ntime.sleep(0.6)"
    assert subprocess.run([sys.executable, "-c", go_on], timeout=60, check=False).returncode == 0


def test_an_error_in_the_block_is_the_callers() -> None:
    with pytest.raises(ValueError, match="mine"), bounded(60):
        raise ValueError("mine")
