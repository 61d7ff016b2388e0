"""The queue on disk: order, what is done, what a killed process leaves behind, and that it is bounded."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.ledger import spool as spools
from gateway.ledger.spool import Place, Spool, SpoolFullError

MIB = 2**20


def _left(spool: Spool) -> list[bytes]:
    return [entry for entry, _ in spool.read(spool.done)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.lists(st.binary(max_size=40), min_size=1, max_size=4),
            st.integers(0, 5),
            st.just("restart"),
        ),
        max_size=25,
    )
)
def test_it_is_a_queue_across_restarts(acts: list[list[bytes] | int | str]) -> None:
    wanted: list[bytes] = []
    segment, spools._SEGMENT_BYTES = spools._SEGMENT_BYTES, 100
    try:
        with TemporaryDirectory() as folder:
            spool = Spool(Path(folder), MIB)
            for act in acts:
                if isinstance(act, list):
                    spool.append(act)
                    wanted += act
                elif isinstance(act, int):
                    places = [place for _, place in spool.read(spool.done)][:act]
                    if places:
                        spool.finish(places[-1])
                        wanted = wanted[len(places) :]
                else:
                    spool.close()
                    spool = Spool(Path(folder), MIB)
                assert _left(spool) == wanted
                assert (spool.done == spool.end) <= (not wanted)
            spool.close()
    finally:
        spools._SEGMENT_BYTES = segment


def test_an_entry_that_was_being_written_is_left_out(tmp_path: Path) -> None:
    spool = Spool(tmp_path, MIB)
    spool.append([b"whole", b"torn"])
    (file,) = tmp_path.glob("*.log")
    raw = file.read_bytes()
    for cut in range(1, 12):
        file.write_bytes(raw[:-cut])
        assert _left(Spool(tmp_path, MIB)) == [b"whole"]


def test_a_damaged_entry_ends_its_segment_and_not_the_others(tmp_path: Path) -> None:
    Spool(tmp_path, MIB).append([b"first", b"second"])
    (file,) = tmp_path.glob("*.log")
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
    spool = Spool(tmp_path, MIB)
    spool.append([b"third"], sync=True)
    assert _left(spool) == [b"first", b"third"]


def test_it_is_bounded_and_has_room_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 100)
    spool.append([b"x" * 60])
    with pytest.raises(SpoolFullError):
        spool.append([b"x" * 60])
    (place,) = [place for _, place in spool.read(spool.done)]
    spool.finish(place)
    assert spool.waiting_bytes == 0
    spool.append([b"x" * 60])


def test_segments_that_are_done_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "_SEGMENT_BYTES", 50)
    spool = Spool(tmp_path, MIB)
    for number in range(10):
        spool.append([b"%d" % number * 40])
    assert len(list(tmp_path.glob("*.log"))) > 3
    spool.finish([place for _, place in spool.read(spool.done)][-1])
    assert len(list(tmp_path.glob("*.log"))) == 1 and _left(spool) == []
    assert spool.done == spool.end > Place(0, 0)
