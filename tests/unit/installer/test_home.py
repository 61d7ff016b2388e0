"""The record and the command of a home."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pytest

from appliance.installation import Installation
from appliance.layout import Layout
from installer import home, options


@pytest.fixture
def settings(tmp_path: Path) -> options.Options:
    return options.parse(["--home", str(tmp_path / "my home"), "--port-base", "31000", "--cache", str(tmp_path)])


def test_the_record_is_what_the_appliance_reads(settings: options.Options) -> None:
    record = home.Record("1.2.3", settings, {"serving": Path("/c/envs/serving-1")}, {"kafka": Path("/c/parts/kafka-2")})
    read = msgspec.json.decode(record.text(), type=Installation)
    assert (read.version, read.port_base, read.user, read.tenant) == ("1.2.3", 31000, "appliance", "main")
    assert read.python("serving") == "/c/envs/serving-1/bin/python"
    assert read.part("kafka") == Path("/c/parts/kafka-2")


def test_the_command_finds_its_own_home_and_code_whatever_the_caller_has(settings: options.Options) -> None:
    """Run as another user than root: the interpreter is a script that tells what it was given."""
    assert settings.home is not None
    settings.layout.bin.mkdir(parents=True)
    python = settings.layout.bin / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$APPLIANCE_HOME" "$PYTHONPATH" "$@"\n')
    python.chmod(0o755)
    text = home.command_text(settings.layout, settings.home, python).replace('"$(id -u)" = 0', "1 = 0")
    done = subprocess.run(
        ["sh", "-c", text, "appliance", "logs", "two words"], check=True, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "APPLIANCE_HOME": "/elsewhere", "PYTHONPATH": "/elsewhere"},
    )  # fmt: skip
    assert done.stdout.splitlines() == [
        str(settings.home), str(settings.layout.code), "-P", "-s", "-m", "appliance", "logs", "two words",
    ]  # fmt: skip


def test_the_systems_command_knows_no_home() -> None:
    text = home.command_text(Layout.system(), None, Path("/python"))
    assert "unset APPLIANCE_HOME" in text
    assert "PYTHONPATH=/opt/appliance/code" in text
    subprocess.run(["sh", "-n", "-c", text], check=True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--port-base", "80"],
        ["--port-base", "65530"],
        ["--port-base", "many"],
        ["--history-until", "15.8.2018"],
        ["--sample-data", "/not/there.parquet"],
        ["--sample-data", "/dev/null"],
    ],
)
def test_options_that_do_not_fit_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        options.parse(arguments)
    assert caught.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_relative_folders_are_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert options.parse(["--home", "h"]).home == tmp_path / "h"


def test_the_record_is_json(settings: options.Options) -> None:
    assert json.loads(home.Record("1", settings, {}, {}).text())["cache"] == str(settings.cache)
