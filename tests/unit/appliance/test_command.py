"""The command line: errors as text and as JSON, exit statuses, settings explained."""

from __future__ import annotations

import json
import logging
import tomllib
from pathlib import Path

import pytest

from appliance.__main__ import main
from appliance.commands.config import explained
from appliance.errors import PartError, SettingError
from appliance.layout import Layout
from appliance.logs import JsonFormatter


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An appliance with nothing but its installation record, and our entry points as pyproject.toml says them."""
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    package = tmp_path / "code" / "feature_appliance-0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    groups = (
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    )
    (package / "entry_points.txt").write_text("\n".join(groups))
    monkeypatch.syspath_prepend(str(tmp_path / "code"))
    (tmp_path / "etc").mkdir()
    record = {
        "version": "1", "port_base": 40_000, "user": "root", "tenant": "main", "scenario": "card_fraud",
        "cache": "/nowhere", "envs": {}, "parts": {},
    }  # fmt: skip
    (tmp_path / "etc" / "installation.json").write_text(json.dumps(record))
    return tmp_path


def test_an_unknown_part_is_a_usage_error(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "nonsense"]) == 2
    assert "there is no part 'nonsense'" in capsys.readouterr().err


def test_an_error_as_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "nonsense", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "part.unknown"
    assert "redis" in error["hint"]


def test_status_of_what_was_never_started_is_not_zero(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "redis", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["ready"] is False
    assert [(part["name"], part["state"], part["port"]) for part in answer["parts"]] == [("redis", "stopped", 40_006)]


def test_a_wrong_command_line_ends_with_2(home: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["status", "--nonsense"])
    assert ended.value.code == 2


def test_the_layer_that_wins_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout.below(tmp_path)
    layout.etc.mkdir()
    layout.settings_file.write_text("[kafka]\npartitions = 2\ncdc_retention_days = 50\n")
    monkeypatch.setenv("APPLIANCE_SETTING_KAFKA__PARTITIONS", "3")
    found = {each.key: each for each in explained(layout)}
    assert (found["kafka.partitions"].value, found["kafka.partitions"].layer) == (3, "environment")
    assert (found["kafka.cdc_retention_days"].value, found["kafka.cdc_retention_days"].layer) == (50, "file")
    assert (found["memory.kafka_heap_mib"].unit, found["memory.kafka_heap_mib"].layer) == ("MiB", "default")


def test_an_invalid_setting_is_refused(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    layout.etc.mkdir()
    layout.settings_file.write_text("[kafka]\npartitions = 'many'\n")
    with pytest.raises(SettingError, match=r"kafka\.partitions"):
        explained(layout)


def test_an_amount_below_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APPLIANCE_SETTING_MEMORY__KAFKA_HEAP_MIB", "0")
    with pytest.raises(SettingError, match=r"memory\.kafka_heap_mib"):
        explained(Layout.below(tmp_path))


def test_a_log_event_is_one_json_line_with_the_errors_fields() -> None:
    error = PartError("some.code", "it broke", context={"n": 1}, hint="mend it")
    record = logging.makeLogRecord(
        {"name": "x", "levelname": "ERROR", "msg": "step %s\nfailed", "args": (3,), "rows": 7}
    )
    record.exc_info = (PartError, error, None)
    line = JsonFormatter("scorer").format(record)
    assert "\n" not in line
    event = json.loads(line)
    assert (event["process"], event["message"], event["rows"]) == ("scorer", "step 3\nfailed", 7)
    assert (event["code"], event["error"], event["context"], event["hint"]) == (
        "some.code", "it broke", {"n": 1}, "mend it",
    )  # fmt: skip
