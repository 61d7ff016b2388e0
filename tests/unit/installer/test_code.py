"""Our own packages in a home: replaced in one step, a user's feature_repo kept."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

import pytest

from installer import code


def _wheel(path: Path, files: dict[str, str]) -> Path:
    rows = []
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            rows.append(f"{name},sha256={digest},{len(text)}\n")
        file.writestr("ours-1.dist-info/RECORD", "".join(rows))
    return path


_FIRST = {"appliance/__init__.py": "", "feature_repo/views.py": "a = 1\n", "feature_repo/policy.py": "p = 1\n"}
_SECOND = {"appliance/__init__.py": "x = 1\n", "feature_repo/views.py": "a = 2\n", "feature_repo/policy.py": "p = 1\n"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    assert code.lay(_wheel(tmp_path / "first.whl", _FIRST), tmp_path / "code").changed
    return tmp_path


def test_the_same_wheel_changes_nothing(home: Path) -> None:
    before = (home / "code").resolve()
    laid = code.lay(home / "first.whl", home / "code")
    assert laid == code.Laid(False, [], [])
    assert (home / "code").resolve() == before


def test_another_wheel_replaces_everything_and_leaves_nothing_behind(home: Path) -> None:
    laid = code.lay(_wheel(home / "second.whl", _SECOND), home / "code")
    assert laid == code.Laid(True, [], [])
    assert (home / "code" / "appliance" / "__init__.py").read_text() == "x = 1\n"
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(("code", ".code"))) == [
        "code", (home / "code").resolve().name,
    ]  # fmt: skip


def test_edited_and_added_files_of_the_feature_repo_are_kept_and_told(home: Path) -> None:
    (home / "code" / "feature_repo" / "policy.py").write_text("p = 7\n")
    (home / "code" / "feature_repo" / "mine.py").write_text("m = 1\n")
    assert code.edited(home / "code") == ["feature_repo/mine.py", "feature_repo/policy.py"]
    laid = code.lay(_wheel(home / "second.whl", _SECOND), home / "code")
    assert laid.kept == ["feature_repo/mine.py", "feature_repo/policy.py"]
    assert laid.conflicts == []
    assert (home / "code" / "feature_repo" / "policy.py").read_text() == "p = 7\n"
    assert (home / "code" / "feature_repo" / "mine.py").read_text() == "m = 1\n"
    assert (home / "code" / "feature_repo" / "views.py").read_text() == "a = 2\n"


def test_a_file_that_both_changed_stays_the_users_with_the_new_one_beside(home: Path) -> None:
    (home / "code" / "feature_repo" / "views.py").write_text("a = 9\n")
    laid = code.lay(_wheel(home / "second.whl", _SECOND), home / "code")
    assert laid.conflicts == ["feature_repo/views.py"]
    assert (home / "code" / "feature_repo" / "views.py").read_text() == "a = 9\n"
    assert (home / "code" / "feature_repo" / "views.py.new").read_text() == "a = 2\n"
    assert code.edited(home / "code") == ["feature_repo/views.py"]


def test_a_plain_folder_of_an_older_installation_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "old.py").write_text("")
    code.lay(_wheel(tmp_path / "first.whl", _FIRST), tmp_path / "code")
    assert not (tmp_path / "code" / "old.py").exists()
    assert (tmp_path / "code").is_symlink()
