"""Finding processes, becoming one, and measuring them, with real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from appliance import launch
from appliance.processes import lives, memory_mib, tree


def _launch(tmp_path: Path, name: str, command: list[str]) -> subprocess.Popen[bytes]:
    wanted = {
        "command": command,
        "environment": {launch.MARK: str(tmp_path), launch.PROCESS: name, "SECRET": "hush"},
        "directory": str(tmp_path),
    }
    file = tmp_path / f"{name}.json"
    file.write_text(json.dumps(wanted))
    return subprocess.Popen([sys.executable, "-I", "-S", launch.__file__, str(file)])


def _until(condition: object, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_launched_process_and_its_children_are_found_by_mark(tmp_path: Path) -> None:
    process = _launch(tmp_path, "parent", ["/bin/sh", "-c", "sleep 60 & wait"])
    try:
        _until(lambda: len(launch.marked(str(tmp_path), "parent")) == 2)
        assert process.pid in launch.marked(str(tmp_path))
        assert launch.marked(str(tmp_path), "other") == []
        assert len(tree(process.pid)) == 2
        assert b"hush" not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        rss, pss = memory_mib(process.pid)
        assert 0 < pss <= rss
    finally:
        launch.kill_orphans(str(tmp_path), "parent")
        process.wait()


def test_what_an_earlier_run_left_behind_is_ended_before_the_next_one(tmp_path: Path) -> None:
    first = _launch(tmp_path, "twice", ["/bin/sh", "-c", "sleep 60 & wait"])
    _until(lambda: len(launch.marked(str(tmp_path), "twice")) == 2)
    (child,) = (pid for pid in tree(first.pid) if pid != first.pid)
    first.kill()
    first.wait()
    assert lives(child), "the child outlives its killed parent"
    second = _launch(tmp_path, "twice", ["/bin/sleep", "60"])
    try:
        _until(lambda: not lives(child))
        _until(lambda: launch.marked(str(tmp_path), "twice") == [second.pid])
    finally:
        second.kill()
        second.wait()


def test_a_process_that_has_ended_does_not_live() -> None:
    process = subprocess.Popen(["/bin/true"])
    _until(lambda: not lives(process.pid))
    process.wait()
    assert lives(os.getpid())
