"""What is done is remembered, and done again when it was done with something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer import options, scenario
from installer.errors import InstallError
from installer.progress import Progress
from installer.state import State


def test_steps_are_remembered(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json")
    assert not state.done("load")
    state.record("load", "file 1")
    assert State(tmp_path / "state.json").done("load", "file 1")
    assert not state.done("load", "file 2")
    state.record("train")
    state.forget("load")
    assert not state.done("load", "file 1")
    assert state.done("train")


def test_a_broken_file_is_not_read_over(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with pytest.raises(InstallError) as caught:
        State(tmp_path / "state.json").done("load")
    assert caught.value.code == "state.broken"


@pytest.fixture
def home(tmp_path: Path) -> options.Options:
    """A home whose `appliance` command notes what it is called with, and fails at `model` while `broken` is there."""
    settings = options.parse(["--home", str(tmp_path), "--cache", str(tmp_path / "cache")])
    for folder in (settings.layout.etc, settings.layout.bin):
        folder.mkdir()
    settings.command.write_text(
        f'#!/bin/sh\necho "$@" >>{tmp_path}/calls\n[ "$1" != model ] || [ ! -e {tmp_path}/broken ]\n'
    )
    settings.command.chmod(0o755)
    return settings


def _calls(home: options.Options) -> list[str]:
    assert home.home is not None
    path = home.home / "calls"
    return [line.split()[0] + " " + line.split()[1] for line in path.read_text().splitlines()] if path.exists() else []


def test_a_failed_step_is_where_the_next_run_goes_on(home: options.Options) -> None:
    assert home.home is not None
    (home.home / "broken").touch()
    with pytest.raises(InstallError, match="model train card_fraud"):
        scenario.run(home, Progress(scenario.STEPS))
    done = ["sample load", "features apply", "source add", "model train"]
    assert _calls(home) == done
    (home.home / "broken").unlink()
    scenario.run(home, Progress(scenario.STEPS))
    assert _calls(home) == [*done, "model train", "measure card_fraud"]


def test_a_second_run_does_nothing(home: options.Options) -> None:
    scenario.run(home, Progress(scenario.STEPS))
    before = _calls(home)
    progress = Progress(scenario.STEPS)
    scenario.run(home, progress)
    assert _calls(home) == before
    assert progress.changed == []
    assert "Nothing to change" in progress.summary()
