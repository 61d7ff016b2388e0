"""Packed bytes give back exactly what went in, or say that they cannot."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.records import Edit
from stream_jobs.errors import EditError, PackedError
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, Header, RowLayout, header
from stream_jobs.plan import Column
from stream_jobs.windows.values import exact

FIXED = RowLayout(
    (Column("amount", "decimal", 2), Column("n", "int64"), Column("x", "float64"), Column("b", "bool")),
    integer_ids=True,
)
TEXT_IDS = RowLayout(FIXED.columns, integer_ids=False)
TAILED = RowLayout((*FIXED.columns, Column("s", "string"), Column("t", "string")), integer_ids=True)
WIDE = RowLayout(tuple(Column(f"c{i}", "int64") for i in range(64)), integer_ids=True)

INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
POSITIONS = st.integers(0, 2**128 - 1).map("{:032x}".format)


def _columns(layout: RowLayout) -> st.SearchStrategy[dict]:
    kinds = {
        "decimal": st.decimals(-(10**9), 10**9, places=2).map(str),
        "int64": INT64,
        "float64": st.floats(allow_nan=False, allow_infinity=False),
        "bool": st.booleans(),
        "string": st.text(st.characters(codec="utf-8"), max_size=8),
    }
    return st.fixed_dictionaries({c.name: st.none() | kinds[c.type] for c in layout.columns})


def _edits(layout: RowLayout) -> st.SearchStrategy[Edit]:
    ids = INT64.map(str) if layout.integer_ids else st.text(st.characters(codec="utf-8"), max_size=20)
    return st.builds(
        Edit, sign=st.sampled_from([-1, 1]), position=POSITIONS, known_at=INT64, entity=st.just(""), row_id=ids,
        event_time=INT64, assumed=st.booleans(), columns=_columns(layout), channel=st.just(""),
    )  # fmt: skip


@pytest.mark.parametrize("layout", [FIXED, TEXT_IDS, TAILED, WIDE], ids=["fixed", "text ids", "tailed", "64 columns"])
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_round_trip(layout: RowLayout, data: st.DataObject) -> None:
    logs = data.draw(st.lists(st.lists(_edits(layout), max_size=4), min_size=1, max_size=3))
    packed = [b"".join(layout.encode(edit) for edit in log) for log in logs]
    decoded = layout.decode(packed)
    edits = [edit for log in logs for edit in log]
    assert decoded.group.tolist() == [g for g, log in enumerate(logs) for _ in log]
    assert decoded.batch.sign.tolist() == [edit.sign for edit in edits]
    assert decoded.batch.event_time.tolist() == [edit.event_time for edit in edits]
    assert decoded.known_at.tolist() == [edit.known_at for edit in edits]
    assert decoded.assumed.tolist() == [edit.assumed for edit in edits]
    positions = zip(decoded.batch.high.tolist(), decoded.batch.low.tolist(), strict=True)
    assert [f"{high:016x}{low:016x}" for high, low in positions] == [edit.position for edit in edits]
    ids = decoded.batch.row_id.tolist() if decoded.ids is None else decoded.ids
    assert [str(one) for one in ids] == [edit.row_id for edit in edits]
    for column in layout.columns:
        series = decoded.batch.columns[column.name]
        valid = [True] * len(edits) if series.valid is None else series.valid.tolist()
        got = [value if there else None for value, there in zip(series.values.tolist(), valid, strict=True)]
        assert got == [exact(column, edit.columns[column.name]) for edit in edits]
    for log, raw in zip(logs, packed, strict=True):
        assert layout.split(raw) == [layout.encode(edit) for edit in log]


def test_ids_that_look_alike_stay_apart():
    decoded = TEXT_IDS.decode([b"".join(TEXT_IDS.encode(Edit(1, "0" * 32, 0, "", i)) for i in ("7", "07", "7 ", "7"))])
    first, second, third, fourth = decoded.batch.row_id.tolist()
    assert len({first, second, third}) == 3
    assert first == fourth


def test_header_round_trip():
    assert header(EMPTY) == Header()
    head = Header(base=3, folded_to=(2**64 - 1, 7), removed_to=-5, removed=2)
    assert header(head.encode()) == head


@pytest.mark.parametrize("raw", [b"", b"E", b"X" + EMPTY[1:], EMPTY[:1] + b"\x09" + EMPTY[2:]])
def test_bytes_of_another_layout_are_refused(raw):
    with pytest.raises(PackedError):
        header(raw)


@pytest.mark.parametrize("layout", [FIXED, TAILED])
def test_bytes_cut_off_are_refused(layout):
    record = layout.encode(Edit(1, "0" * 32, 0, "", "1", columns={"s": "abc"} if layout is TAILED else {}))
    with pytest.raises(PackedError):
        layout.decode([record + record[:-1]])


@pytest.mark.parametrize(
    "edit",
    [
        Edit(1, "0" * 31, 0, "", "1"),
        Edit(1, "g" * 32, 0, "", "1"),
        Edit(0, "0" * 32, 0, "", "1"),
        Edit(1, "0" * 32, 0, "", "x"),
        Edit(1, "0" * 32, 0, "", "1", 2**63),
        Edit(1, "0" * 32, 2**63, "", "1"),
        Edit(1, "0" * 32, 0, "", "1", columns={"amount": "1.001"}),
    ],
)
def test_an_edit_that_does_not_fit_is_refused(edit):
    with pytest.raises(EditError):
        FIXED.encode(edit)


def test_too_many_columns_are_refused():
    with pytest.raises(PackedError):
        RowLayout((*WIDE.columns, Column("one more", "int64")), integer_ids=True)


def test_the_header_is_as_long_as_it_says():
    assert len(EMPTY) == HEADER_BYTES == 40
