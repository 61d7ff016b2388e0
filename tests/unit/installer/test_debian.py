"""Debian packages: what the archive offers is judged; what is written for a while comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer import debian
from installer.debian import Offer, Package
from installer.errors import LockFileError, RefusedFileError

_TESTED = Package("postgresql-15", "15.20-0+deb12u1", "a" * 64)


def test_the_tested_file_needs_no_remark() -> None:
    assert debian.judge(_TESTED, Offer(_TESTED.version, _TESTED.sha256)) is None


def test_a_newer_security_revision_is_accepted_and_reported() -> None:
    remark = debian.judge(_TESTED, Offer("15.20-0+deb12u2", "b" * 64))
    assert remark is not None
    assert "15.20-0+deb12u2" in remark
    assert _TESTED.version in remark


@pytest.mark.parametrize("offer", [None, Offer("15.19-0+deb12u1", "b" * 64), Offer(_TESTED.version, "b" * 64)])
def test_older_missing_or_another_content_is_refused_by_name(offer: Offer | None) -> None:
    with pytest.raises(RefusedFileError, match="postgresql-15"):
        debian.judge(_TESTED, offer)


def test_the_lock_is_whole() -> None:
    names = [package.name for package in debian.wanted()]
    assert len(names) == len(set(names))
    assert "postgresql-15" in names


def test_a_broken_lock_is_refused() -> None:
    with pytest.raises(LockFileError, match="line 2"):
        debian.parse("# comment\npostgresql-15 15.20\n", "lock")


def test_a_file_is_replaced_for_a_while_only(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    with debian._instead(path, "ours"):
        assert path.read_text() == "ours"
    assert not path.exists()
    path.write_text("theirs")
    path.chmod(0o700)
    with debian._instead(path, "ours"):
        assert path.read_text() == "ours"
        assert path.stat().st_mode & 0o777 == 0o700
    assert path.read_text() == "theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_run_left_is_healed(tmp_path: Path) -> None:
    path = tmp_path / "policy"
    path.write_text("theirs")
    killed = debian._instead(path, "ours")
    killed.__enter__()
    with debian._instead(path, "ours"):
        assert path.read_text() == "ours"
    assert path.read_text() == "theirs"
