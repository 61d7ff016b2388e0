"""A registry that cannot be reached is found before anything is changed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from installer import debian, registries
from installer.errors import InstallError, RefusedFileError


@pytest.fixture
def closed_port() -> int:
    """A port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_package_index_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, closed_port: int) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{closed_port}/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    check = registries.python_index()
    assert not check.good
    assert check.name == "Python package index"
    assert "ERROR" in check.got


def _settings(monkeypatch: pytest.MonkeyPatch, home: Path, mirror: str) -> None:
    (home / ".m2").mkdir()
    (home / ".m2" / "settings.xml").write_text(
        f"<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>{mirror}</url></mirror></mirrors></settings>"
    )
    monkeypatch.setenv("HOME", str(home))


def test_a_mirror_of_mavens_settings_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _settings(monkeypatch, tmp_path, "http://127.0.0.1:1/mirror")
    assert registries._maven_address() == "http://127.0.0.1:1/mirror"


def test_a_maven_repository_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, closed_port: int
) -> None:
    """As on a machine without Maven, where the repository is asked directly."""
    _settings(monkeypatch, tmp_path, f"http://127.0.0.1:{closed_port}/mirror")
    monkeypatch.setattr(registries, "MAVEN_PROGRAM", tmp_path / "mvn")
    check = registries.maven_repository()
    assert not check.good
    assert "refused" in check.got


def test_without_a_mirror_the_address_is_mavens_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registries._maven_address().startswith("https://")


def test_an_archive_that_offers_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "apt.conf").write_text('Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/dev/null";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    wanted = (debian.Package("openjdk-99-jre", "99", "0" * 64),)
    archive = debian.Archive(tmp_path)
    archive.update()
    with pytest.raises(InstallError, match="openjdk-99-jre"):
        archive.offers(wanted)
    with pytest.raises(RefusedFileError, match="got none"):
        debian.judge(wanted[0], None)
