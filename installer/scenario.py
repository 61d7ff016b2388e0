"""From a laid-down appliance to scored rows: calls of the `appliance` command, each remembered when it is done."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from installer.errors import InstallError
from installer.options import SYSTEM_USER, Options
from installer.progress import Progress
from installer.state import State
from installer.sums import sha256

REPLAY_ROWS = 2_000
REPLAY_RATE = 50
"""Rows a second."""


@dataclass(frozen=True)
class Call:
    """One call of the `appliance` command. key: what it was done with; another key means that it must be done again."""

    name: str
    title: str
    words: tuple[str, ...]
    key: str = ""


def calls(scenario: str, sample: Path | None, profile: str | None, until: str | None) -> tuple[Call, ...]:
    """The steps of a scenario, in order. sample: a file of payments that the system user can read; profile: size of
    the generated ones otherwise."""
    load = ["sample", "load"]
    if sample is not None:
        load += ["--file", str(sample)]
    if profile is not None:
        load += ["--profile", profile]
    if until is not None:
        load += ["--until", until]
    replay = ("measure", scenario, "--rows", str(REPLAY_ROWS), "--rate", str(REPLAY_RATE))
    data = sha256(sample) if sample else f"generated, {profile or 'default'} size"
    key = f"{data}, until {until or 'the default'}"
    return (
        Call("sample-load", "filling the sample business database with history", tuple(load), key),
        Call("features-apply", f"applying the feature definitions of {scenario}", ("features", "apply"), scenario),
        Call("source-add", "connecting to the sample business database", ("source", "add", "bank", "--sample"), key),
        Call(
            "model-train", f"training, checking and loading the model of {scenario}", ("model", "train", scenario), key
        ),
        Call("sample-replay", f"{REPLAY_ROWS:,} rows arriving live, watched", replay, key),
    )


def call(command: Path, words: tuple[str, ...]) -> None:
    """Run a sub-command, its output shown as it comes. Raises InstallError if it fails."""
    done = subprocess.run([str(command), *words], stdin=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise InstallError(
            "scenario.failed",
            f"`{command} {' '.join(words)}` ended with {done.returncode}; its own message stands above",
            hint="correct that, then run ./install again: it goes on at this step",
        )


def running(command: Path) -> bool:
    """Whether every part runs and is ready."""
    done = subprocess.run(
        [str(command), "status", "--json"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode == 0


def _sample_copy(options: Options) -> Path | None:
    """The sample file where the system user can read it."""
    if options.sample_data is None:
        return None
    copy = options.layout.data / "sample" / options.sample_data.name
    if not copy.exists() or sha256(copy) != sha256(options.sample_data):
        copy.parent.mkdir(exist_ok=True, mode=0o750)
        shutil.copyfile(options.sample_data, copy)
        for path in (copy.parent, copy):
            shutil.chown(path, SYSTEM_USER, SYSTEM_USER)
    return copy


STEPS = len(calls("", None, None, None))


def run(options: Options, progress: Progress) -> None:
    """Do the steps that are not done yet, with what this run was given."""
    state = State(options.layout.etc / "install-state.json")
    steps = calls(options.scenario, _sample_copy(options), options.sample_profile, options.history_until)
    for number, step in enumerate(steps):
        if state.done(step.name, step.key):
            progress.kept(step.title)
            continue
        state.forget(*(later.name for later in steps[number:]))
        with progress.step(step.title):
            call(options.command, step.words)
        state.record(step.name, step.key)
