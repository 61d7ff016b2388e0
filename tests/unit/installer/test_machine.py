"""Every way in which a machine can be unfit is found, named, and told with what to do."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.launch import MARK
from appliance.layout import Layout
from appliance.ports import Port
from installer import home, machine, sockets
from installer.machine import Check

_GIB = 1024**3
_MEMINFO = "MemTotal:       16384000 kB\nMemFree:  100 kB\nMemAvailable:   12288000 kB\n"


def _release(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "os-release"
    path.write_text(text)
    return path


def test_debian_12(tmp_path: Path) -> None:
    assert machine.debian(_release(tmp_path, 'ID=debian\nVERSION_ID="12"\n')).good


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ('ID=debian\nVERSION_ID="11"\n', "debian 11"),
        ('ID=ubuntu\nVERSION_ID="24.04"\n', "ubuntu 24.04"),
        ("", "unknown"),
    ],
)
def test_another_system_is_refused(tmp_path: Path, text: str, got: str) -> None:
    check = machine.debian(_release(tmp_path, text))
    assert not check.good
    assert check.got == got


def test_architecture_and_user() -> None:
    assert machine.architecture("x86_64").good
    assert not machine.architecture("aarch64").good
    assert machine.root(0).good
    assert not machine.root(1000).good


def test_folders_of_one_file_system_add_up(tmp_path: Path) -> None:
    needs = {tmp_path / "not" / "there": 600, tmp_path: 500}
    (check,) = machine.disk(needs, free=lambda _: _GIB)
    assert not check.good
    assert check.expected == "1,100 MiB free"
    assert check.got == "1,024 MiB free"
    assert machine.disk({tmp_path: 1000}, free=lambda _: _GIB)[0].good


def test_memory() -> None:
    assert all(check.good for check in machine.memory(15_000, 8_000, text=_MEMINFO, limit="max"))


def test_too_little_memory_in_all_and_available() -> None:
    total, available = machine.memory(17_000, 13_000, text=_MEMINFO, limit="max")
    assert not total.good
    assert not available.good


def test_the_limit_of_a_container_counts() -> None:
    total, _ = machine.memory(15_000, 1_000, text=_MEMINFO, limit=str(8 * _GIB))
    assert not total.good
    assert total.got == "8,192 MiB in all"


def _base_with(listener: socket.socket) -> int:
    """A port base that makes the listener's port the Redis port."""
    return int(listener.getsockname()[1]) - Port.REDIS


def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        base = _base_with(listener)
        checks = [check for check in machine.ports(base, Layout.below(tmp_path)) if "(redis)" in check.name]
    assert [check.name for check in checks] == [f"port {base + Port.REDIS} (redis)"]
    assert not checks[0].good
    assert "taken by process" in checks[0].got


def test_our_own_listener_is_no_obstacle(tmp_path: Path) -> None:
    program = (
        "import socket, sys\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\n"
        "print(s.getsockname()[1], flush=True)\nsys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={MARK: str(tmp_path / "etc")},
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        base = int(process.stdout.readline()) - Port.REDIS
        assert not [check for check in machine.ports(base, Layout.below(tmp_path)) if "(redis)" in check.name]
        assert machine.running(tmp_path / "etc")
        assert [check for check in machine.ports(base, Layout.below(tmp_path / "other")) if "(redis)" in check.name]
        process.communicate("")
    assert not machine.running(tmp_path / "etc")


def test_a_listener_in_our_folders_is_ours_even_without_the_mark(tmp_path: Path) -> None:
    layout = Layout.below(tmp_path)
    layout.data.mkdir()
    process = subprocess.Popen(["sleep", "60"], cwd=layout.data, env={})
    try:
        assert sockets.ours(process.pid, layout)
        assert not sockets.ours(process.pid, Layout.below(tmp_path / "other"))
    finally:
        process.kill()
        process.wait()


def test_a_closed_folder_on_the_way_is_named(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    check = home.reachable(closed / "home" / "data")
    assert not check.good
    assert str(closed) in check.got


def test_every_failed_check_is_listed_at_once() -> None:
    error = machine.failed(
        [
            Check("disk for /", False, "9 MiB free", "1 MiB free", "free some"),
            Check("user", True, "root", "root"),
            Check("port 21000", False, "free", "taken", "stop it"),
        ]
    )
    assert error is not None
    assert error.context["failed"] == ["disk for /", "port 21000"]
    assert "expected 9 MiB free, got 1 MiB free" in error.message
    assert "hint: stop it" in error.message
    assert machine.failed([Check("user", True, "root", "root")]) is None
