"""A file that is not the one in the lock is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer import sums
from installer.errors import LockFileError, RefusedFileError

_A, _B = "a" * 64, "b" * 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good-1.0.jar").write_bytes(b"good")
    (tmp_path / "other-2.1.jar").write_bytes(b"other")
    return tmp_path


def _lock(folder: Path) -> dict[str, str]:
    return sums.of_files(folder.iterdir(), folder)


def test_a_folder_is_what_its_lock_says(folder: Path) -> None:
    sums.check(folder, _lock(folder), "lock")


def test_an_altered_jar_is_refused_by_name_with_both_sums(folder: Path) -> None:
    lock = _lock(folder)
    (folder / "other-2.1.jar").write_bytes(b"0ther")
    with pytest.raises(RefusedFileError) as caught:
        sums.check(folder, lock, "kafka.sha256")
    got = sums.sha256(folder / "other-2.1.jar")
    assert f"other-2.1.jar: expected SHA-256 {lock['other-2.1.jar']}, got {got}" in caught.value.message
    assert "good-1.0.jar" not in caught.value.message
    assert caught.value.context["different"] == ["other-2.1.jar"]


def test_missing_and_extra_files_are_all_named(folder: Path) -> None:
    lock = _lock(folder)
    (folder / "good-1.0.jar").rename(folder / "stranger.jar")
    with pytest.raises(RefusedFileError) as caught:
        sums.check(folder, lock, "kafka.sha256")
    assert "good-1.0.jar: missing" in caught.value.message
    assert "stranger.jar: not in the lock" in caught.value.message


def test_a_list_survives_writing_and_reading() -> None:
    listed = {"b.jar": _B, "a.jar": _A}
    assert sums.parse(sums.render(listed), "lock") == listed
    assert sums.render(listed).startswith(f"{_A}  a.jar\n")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"{_A[:-1]}  a.jar\n", "lock.line"),
        (f"{_A} a.jar\n", "lock.line"),
        (f"{_A}  a.jar\n{_B}  a.jar\n", "lock.twice"),
        ("# nothing\n", "lock.empty"),
    ],
)
def test_a_broken_list_is_refused(text: str, code: str) -> None:
    with pytest.raises(LockFileError) as caught:
        sums.parse(text, "lock")
    assert caught.value.code == code


def test_a_lock_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LockFileError) as caught:
        sums.read(tmp_path / "none.sha256")
    assert caught.value.code == "lock.missing"
