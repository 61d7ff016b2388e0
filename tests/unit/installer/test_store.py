"""The cache: addressed by content, whole or not there, one writer at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from installer.store import Store, address


def test_the_address_changes_with_every_piece_and_its_border() -> None:
    assert len(address([b"a"])) == 12
    assert address([b"ab", b"c"]) != address([b"a", b"bc"])
    assert address([b"a", b"b"]) == address([b"a", b"b"])


def test_what_is_there_is_not_built_again(tmp_path: Path) -> None:
    store, built = Store(tmp_path), []

    def fill(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("x")

    first = store.build("parts", "kafka", "abc", fill)
    assert store.build("parts", "kafka", "abc", fill) == first == tmp_path / "parts" / "kafka-abc"
    assert len(built) == 1
    assert store.build("parts", "kafka", "def", fill) != first


def test_an_interrupted_build_leaves_nothing_that_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def killed(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.build("envs", "serving", "abc", killed)
    assert not store.place("envs", "serving", "abc").exists()

    def whole(folder: Path) -> None:
        assert list(folder.iterdir()) == []
        (folder / "whole").write_text("x")

    place = store.build("envs", "serving", "abc", whole)
    assert [path.name for path in place.iterdir()] == ["whole"]


def test_the_plain_name_follows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for digest in ("one", "two"):
        store.link("parts", "kafka", store.build("parts", "kafka", digest, lambda folder: None))
    assert (tmp_path / "parts" / "kafka").resolve() == tmp_path / "parts" / "kafka-two"


def test_a_second_installer_waits_and_says_so(tmp_path: Path) -> None:
    store, said, entered = Store(tmp_path), threading.Event(), threading.Event()

    def second() -> None:
        with store.lock(lambda _: said.set()):
            entered.set()

    thread = threading.Thread(target=second)
    with store.lock():
        thread.start()
        assert said.wait(5)
        assert not entered.is_set()
    thread.join(5)
    assert entered.is_set()
