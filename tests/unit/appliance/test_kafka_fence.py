"""When the broker of before is fenced, when not, and that what comes after starts in every case."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from appliance.parts import kafka_fence

_ACTIVE = "echo 'x WARN [QuorumController id=1] Performing controller activation.'"
_FENCED = "echo 'x INFO [QuorumController id=1] Fencing broker 1 at epoch 7 because its session has timed out.'"


@pytest.fixture
def led(tmp_path: Path) -> Path:
    """The log folder of a broker that leads a partition and was killed."""
    for name in ("__cluster_metadata-0", "main.alerts-0"):
        (tmp_path / name).mkdir()
    return tmp_path


def _start(log: Path, controller: str) -> subprocess.CompletedProcess[str]:
    command = (
        sys.executable, "-m", kafka_fence.__name__, str(log),
        "--", "/bin/sh", "-c", controller, "--", "/bin/echo", "the broker",
    )  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)


def test_a_broker_that_was_killed_is_to_be_fenced(led: Path) -> None:
    assert kafka_fence.must_fence(led)


def test_one_that_ended_by_itself_is_not(led: Path) -> None:
    (led / ".kafka_cleanshutdown").touch()
    assert not kafka_fence.must_fence(led)


def test_a_new_log_has_nothing_to_fence(led: Path) -> None:
    (led / "main.alerts-0").rmdir()
    assert not kafka_fence.must_fence(led)


def test_the_controller_is_ended_once_it_has_fenced_and_the_broker_starts(led: Path) -> None:
    began = time.monotonic()
    said = _start(led, f"{_ACTIVE}; {_FENCED}; exec sleep 600").stdout
    assert "the broker of before is fenced" in said
    assert said.endswith("the broker\n")
    assert time.monotonic() - began < kafka_fence._LONGEST_SECONDS


def test_what_the_controller_warns_of_is_shown_and_the_rest_is_not(led: Path) -> None:
    said = _start(led, f"{_ACTIVE}; echo 'x INFO chatter'; {_FENCED}; exec sleep 600").stdout
    assert "Performing controller activation" in said
    assert "chatter" not in said


@pytest.mark.parametrize("controller", ["exit 1", f"{_ACTIVE}; exec sleep 600"], ids=["ends", "fences-nothing"])
def test_a_controller_that_fences_nothing_does_not_keep_the_broker_from_starting(led: Path, controller: str) -> None:
    said = _start(led, controller).stdout
    assert "no broker of before" in said
    assert said.endswith("the broker\n")


def test_without_need_no_controller_is_run(led: Path) -> None:
    (led / ".kafka_cleanshutdown").touch()
    assert _start(led, "echo x WARN controller; exit 1").stdout == "the broker\n"
