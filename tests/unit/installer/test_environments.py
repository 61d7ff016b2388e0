"""Python packages: an altered wheel is refused by name; the machine's own index configuration is respected."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from installer import environments, locks, maven
from installer.errors import InstallError, RefusedFileError
from installer.sums import sha256


def _wheel(folder: Path, content: bytes) -> Path:
    """A wheel ``small-1.0`` with one module."""
    folder.mkdir(exist_ok=True)
    files = {
        "small.py": content,
        "small-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
        "small-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    path = folder / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(data)}\n")
        file.writestr("small-1.0.dist-info/RECORD", "".join(rows) + "small-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """uv of the tools environment, with no index but the folder ``wheels``."""
    found = sorted(Path(sys.prefix).parent.glob("tools-*/bin/uv"))
    if not found:
        pytest.fail(f"no tools environment beside {sys.prefix}: scripts/lay-down envs/test builds it")
    monkeypatch.setenv("UV_NO_INDEX", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "wheels"))
    return found[-1]


def _lock(monkeypatch: pytest.MonkeyPatch, folder: Path, digest: str) -> None:
    folder.mkdir()
    (folder / "small.txt").write_text(f"small==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setattr(locks, "PYTHON", folder)


def test_a_wheel_with_the_right_hash_is_unpacked(uv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = _wheel(tmp_path / "wheels", b"x = 1\n")
    _lock(monkeypatch, tmp_path / "locks", sha256(wheel))
    environments.unpack("small", tmp_path / "target", uv, tmp_path / "cache")
    assert (tmp_path / "target" / "small.py").read_bytes() == b"x = 1\n"


def test_an_altered_wheel_is_refused_by_name(uv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = sha256(_wheel(tmp_path / "wheels", b"x = 1\n"))
    _lock(monkeypatch, tmp_path / "locks", right)
    altered = _wheel(tmp_path / "wheels", b"x = 2\n")
    with pytest.raises(RefusedFileError) as caught:
        environments.unpack("small", tmp_path / "target", uv, tmp_path / "cache")
    assert "small==1.0" in caught.value.message
    assert right in caught.value.message
    assert sha256(altered) in caught.value.message
    assert not (tmp_path / "target" / "small.py").exists()


def test_another_failure_is_not_called_a_refused_file(
    uv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wheels").mkdir()
    _lock(monkeypatch, tmp_path / "locks", "0" * 64)
    with pytest.raises(InstallError) as caught:
        environments.unpack("small", tmp_path / "target", uv, tmp_path / "cache")
    assert not isinstance(caught.value, RefusedFileError)


def test_every_requirement_of_every_lock_has_hashes_and_no_address() -> None:
    for lock in sorted(locks.PYTHON.glob("*.txt")):
        text = lock.read_text()
        if lock.name == "overrides.txt":
            continue
        assert "://" not in text, lock.name
        blocks = text.replace("\\\n", " ").splitlines()
        wanted = [block for block in blocks if block and not block.lstrip().startswith("#")]
        assert wanted, lock.name
        for block in wanted:
            assert "==" in block and "--hash=sha256:" in block, f"{lock.name}: {block[:60]}"


def test_what_is_tested_is_what_is_installed() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (locks.PYTHON / f"{name}.txt").read_text().splitlines()
        pairs = (line.split(" ")[0].split("==") for line in lines if "==" in line and line[0].isalnum())
        return {pair[0]: pair[1] for pair in pairs}

    serving, test = pins("serving"), pins("test")
    assert serving.items() <= test.items()


@pytest.mark.parametrize(
    ("files", "environment", "expected"),
    [
        ({}, {}, None),
        ({"pip.conf": "[global]\ncert = /x\n"}, {}, None),
        ({"pip.conf": "[global]\nindex-url = mirror%20a\n"}, {}, "mirror%20a"),
        ({"pip.conf": "[global]\nindex-url = mirror\n"}, {"PIP_INDEX_URL": "other"}, "other"),
        ({"a": "[global]\nindex-url = one\n", "b": "[install]\nindex-url = two\n"}, {}, "two"),
    ],
)
def test_pips_index(tmp_path: Path, files: dict[str, str], environment: dict[str, str], expected: str | None) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert environments.pip_index(tuple(tmp_path / name for name in files), environment) == expected


def test_an_altered_plugin_of_maven_is_refused_before_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "org/apache/plugin-1.jar"
    (tmp_path / "org" / "apache").mkdir(parents=True)
    (tmp_path / name).write_bytes(b"altered")
    lock = tmp_path / "plugin.sha256"
    lock.write_text(f"{'0' * 64}  {name}\n")
    ran: list[str] = []
    monkeypatch.setattr(maven, "PLUGIN_LOCK", lock)
    monkeypatch.setattr(maven, "run", lambda command, *_, **__: ran.append(str(command)))
    with pytest.raises(RefusedFileError, match=r"plugin-1\.jar"):
        maven.copy(tmp_path / "pom.xml", tmp_path, tmp_path / "target")
    assert ran == []
    assert not (tmp_path / name).exists(), "it must be fetched again by the next try"
