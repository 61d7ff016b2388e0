"""The compiled kernel gives what numpy and brute force give, for packed logs of every kind."""

from __future__ import annotations

import math
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.names import Names
from appliance.records import Edit, FeatureValue
from stream_jobs.errors import EditError, PackedError
from stream_jobs.online.answers import Answer
from stream_jobs.online.compact import compact
from stream_jobs.online.packed import EMPTY, RowLayout
from stream_jobs.online.reached import Reached
from stream_jobs.online.view_reader import Values, ViewReader, Wants
from stream_jobs.plan import CapturedTable, Column, Plan, View, WindowFeature
from stream_jobs.windows import kernel
from stream_jobs.windows.edits import halves
from tests.unit.stream_jobs.windows import brute_force
from tests.unit.stream_jobs.windows.logs import COLUMN_VALUES, COLUMNS, CUTS, ENTITIES, FEATURES, TIMES, histories
from tests.unit.stream_jobs.windows.test_windows_against_brute_force import same

NUMBERS = tuple(column for column in COLUMNS if column.type != "string")
DONE_HERE = tuple(f for f in FEATURES if f.column != "country" and f.function != "last_n")
TABLE = CapturedTable("bank", "public.tx", "cdc", ("id",), (Column("id", "int64"),), "at", True)


def view_of(columns: tuple[Column, ...], features: tuple[WindowFeature, ...]) -> View:
    return View("v", 1, "bank", "public.tx", "cdc", "e", "who", ("who",), "id", "at", columns, features, "", "hash")


def readers(view: View, history: object = None) -> tuple[ViewReader, ViewReader]:
    """One that uses the kernel, one that does not."""
    plan = Plan("test", (TABLE,), (view,), ())
    both = [ViewReader(view, RowLayout.of(plan, view), Names("main"), history) for _ in range(2)]
    assert both[0]._compiled is not None
    both[1]._compiled = None
    return both[0], both[1]


VIEW = view_of(NUMBERS, DONE_HERE)
KERNEL, NUMPY = readers(VIEW)
LAYOUT = RowLayout.of(Plan("test", (TABLE,), (VIEW,), ()), VIEW)


def packed(log: list[Edit]) -> bytes:
    return EMPTY + b"".join(map(LAYOUT.encode, log))


def rows_of(values: Values, rows: int) -> list[dict[str, FeatureValue]]:
    return [values.of(row) for row in range(rows)]


def unlike(first: dict[str, FeatureValue], second: dict[str, FeatureValue]) -> list[object]:
    """Where two rows differ, in anything: value, type, sign of zero, status."""
    assert list(first) == list(second)
    return [
        (name, one, second[name])
        for name, one in first.items()
        if repr(one.value) != repr(second[name].value) or one.status != second[name].status
    ]


READS = st.lists(
    st.tuples(st.sampled_from(ENTITIES), TIMES, st.sampled_from([None, 3, 40]), st.sampled_from(["", "1", "2", "77"])),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(max_examples=120, deadline=None)
@given(histories(), READS, CUTS, COLUMN_VALUES, st.booleans(), st.none() | st.tuples(CUTS, st.integers(-20, 5)))
def test_many_reads_of_random_logs(history, reads, reached, columns, in_hand, small):
    """Rows in hand with and without an id, behind or at their own position; logs compacted before some edits came."""
    raw = {entity: packed(log) for entity, log in history.items()}
    if small is not None and small[0] <= reached:
        for entity, log in history.items():
            arrived = [edit for edit in log if edit.position <= small[0]]
            late = [edit for edit in log if edit.position > small[0]] + log[:2]
            raw[entity] = compact(LAYOUT, packed(arrived), halves(small[0]), small[1]) + packed(late)[len(EMPTY) :]
    own = [None if number is None else f"{number:032x}" for _, _, number, _ in reads]
    hands = [{"who": entity, "id": row_id and int(row_id), **columns} for entity, _, _, row_id in reads]
    wants = Wants(
        [entity for entity, *_ in reads], [at for _, at, *_ in reads], own if any(own) else None,
        hands if in_hand else None,
    )  # fmt: skip
    answer = Answer.of([raw[entity] for entity in ENTITIES])
    places = [ENTITIES.index(entity) for entity, *_ in reads]
    edits = _History(history, [entity for entity, *_ in reads])
    compiled, plain = readers(VIEW, edits)
    found = rows_of(compiled.find(wants, answer, places, Reached(reached, 0)), len(reads))
    again = rows_of(plain.find(wants, answer, places, Reached(reached, 0)), len(reads))
    for one, other in zip(found, again, strict=True):
        assert not unlike(one, other)
    for row, (entity, as_of, _, row_id) in enumerate(reads):
        cut = min(reached, own[row] or reached)
        hand = Edit(1, own[row] or "f" * 32, 0, entity, row_id, as_of, False, columns) if in_hand else None
        for feature in DONE_HERE:
            wanted = brute_force.value(history[entity], cut, as_of, feature, list(COLUMNS), hand)
            got = found[row][feature.name].value
            assert same(got, wanted, feature.function), (feature, got, wanted)


class _History:
    def __init__(self, logs: dict[str, list[Edit]], asked: list[str]) -> None:
        self._logs = logs

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        return [edit for edit in self._logs[entity] if edit.position <= cut]


def test_the_kernel_itself_does_ordinary_logs():
    """Nothing is left to numpy: updates, deletes and late rows in long logs, each function."""
    chance = random.Random(7)
    log, place = [], 0
    table: dict[int, Edit] = {}
    for _ in range(3000):
        row_id, place = chance.randrange(1500), place + 1
        before = table.pop(row_id, None)
        if before is not None:
            log.append(replace_edit(before, -1, place))
        if before is None or chance.random() < 0.7:
            columns = {
                "amount": f"{chance.randrange(10**6)}.25", "seconds": chance.randrange(-100, 100),
                "distance": chance.gauss(0, 1e3), "fraud": chance.random() < 0.3, "at": place,
            }  # fmt: skip
            table[row_id] = Edit(1, f"{place:032x}", 0, "a", str(row_id), chance.randrange(30), False, columns)
            log.append(table[row_id])
    wants = Wants(["a"] * 30, list(range(30)))
    answer = Answer.of([packed(log)])
    block = KERNEL._compiled.compute(answer.raw, answer.spans, KERNEL._wants(wants, [0] * 30, ["f" * 32] * 30))
    assert (block.status == kernel.DONE).all()
    reached = Reached("f" * 32, 0)
    found = rows_of(KERNEL.find(wants, answer, [0] * 30, reached), 30)
    plain = rows_of(NUMPY.find(wants, answer, [0] * 30, reached), 30)
    assert not [unlike(one, other) for one, other in zip(found, plain, strict=True) if unlike(one, other)]


def replace_edit(edit: Edit, sign: int, place: int) -> Edit:
    return Edit(sign, f"{place:032x}", 0, edit.entity, edit.row_id, edit.event_time, False, edit.columns)


FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@settings(max_examples=150, deadline=None)
@given(st.lists(FLOATS | st.sampled_from([0.0, -0.0, 1e16, -1e16, 1.0, 1e-300, 5e-324]), max_size=40))
def test_sums_of_floats_are_correctly_rounded(numbers):
    """As math.fsum rounds them; a sum beyond the floats is an error there and left to numpy here."""
    functions = ("sum", "mean", "std", "min", "max", "count_distinct", "last")
    features = tuple(WindowFeature(name, name, "x", 100) for name in functions)
    view = view_of((Column("x", "float64"),), features)
    compiled, plain = readers(view)
    layout = RowLayout.of(Plan("test", (TABLE,), (view,), ()), view)
    log = [Edit(1, f"{n:032x}", 0, "a", str(n), n, False, {"x": number}) for n, number in enumerate(numbers, 1)]
    raw = Answer.of([EMPTY + b"".join(map(layout.encode, log))])
    try:
        wanted = plain.find(Wants(["a"], [50]), raw, [0], Reached("f" * 32, 0)).of(0)
    except OverflowError:
        with pytest.raises(OverflowError):
            compiled.find(Wants(["a"], [50]), raw, [0], Reached("f" * 32, 0))
        return
    values = compiled.find(Wants(["a"], [50]), raw, [0], Reached("f" * 32, 0))
    assert not unlike(values.of(0), wanted)
    assert numbers == [] or values.of(0)["sum"].value == math.fsum(numbers)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1) | st.sampled_from([2**53, 2**53 + 1, 3 * 10**9 + 1]), max_size=8))
def test_integers_that_64_bits_cannot_sum_are_summed_all_the_same(numbers):
    functions = ("sum", "mean", "std", "min", "max", "first", "last", "count_distinct")
    columns = (Column("n", "int64"), Column("d", "decimal", 4))
    features = tuple(WindowFeature(f"{c.name}_{name}", name, c.name, 100) for name in functions for c in columns)
    view = view_of(columns, features)
    compiled, plain = readers(view)
    layout = RowLayout.of(Plan("test", (TABLE,), (view,), ()), view)
    log = [
        Edit(1, f"{n:032x}", 0, "a", str(n), n, False, {"n": number, "d": str(Decimal(number).scaleb(-4))})
        for n, number in enumerate(numbers, 1)
    ]
    raw = Answer.of([EMPTY + b"".join(map(layout.encode, log))])
    both = [one.find(Wants(["a"], [50]), raw, [0], Reached("f" * 32, 0)).of(0) for one in (compiled, plain)]
    assert not unlike(*both)


def test_64_columns_with_nulls():
    columns = tuple(Column(f"c{place}", "bool" if place % 3 else "int64") for place in range(64))
    features = tuple(WindowFeature(c.name, "sum", c.name, 10) for c in columns)
    view = view_of(columns, features)
    compiled, plain = readers(view)
    layout = RowLayout.of(Plan("test", (TABLE,), (view,), ()), view)
    chance = random.Random(3)

    def values() -> dict:
        return {
            c.name: None
            if chance.random() < 0.4
            else chance.random() < 0.5
            if c.type == "bool"
            else chance.randrange(9)
            for c in columns
        }

    log = [Edit(1, f"{n:032x}", 0, "a", str(n), n, False, values()) for n in range(1, 9)]
    answer = Answer.of([EMPTY + b"".join(map(layout.encode, log))])
    wants = Wants(["a"], [8], None, [{"who": "a", "id": 70, **values()}])
    both = [one.find(wants, answer, [0], Reached("f" * 32, 0)).of(0) for one in (compiled, plain)]
    assert not unlike(*both)


def test_bytes_of_another_layout_are_refused_and_not_read():
    for raw in (b"E\x02" + EMPTY[2:], b"short", EMPTY + b"cut off"):
        with pytest.raises(PackedError):
            KERNEL.find(Wants(["a"], [5]), Answer.of([raw]), [0], Reached("f" * 32, 0))


def test_a_row_in_hand_that_does_not_fit_is_refused():
    for row in ({"id": 1, "amount": "1.234"}, {"id": "07"}, {"id": 2**63}, {"id": 1, "seconds": 2**70}):
        with pytest.raises(EditError):
            KERNEL.find(Wants(["a"], [5], None, [row]), Answer.of([None]), [0], Reached("f" * 32, 0))
    with pytest.raises(EditError):
        KERNEL.find(Wants(["a"], [2**70]), Answer.of([None]), [0], Reached("f" * 32, 0))


def test_a_row_without_id_takes_no_stored_rows_place():
    """Row 0 is a row like any other."""
    log = [Edit(1, f"{1:032x}", 0, "a", "0", 1, False, {"seconds": 1})]
    for reader in (KERNEL, NUMPY):
        values = reader.find(
            Wants(["a"], [2], None, [{"id": None}]), Answer.of([packed(log)]), [0], Reached("f" * 32, 0)
        )
        assert values.of(0)["None_count_7_None"].value == 2
        assert np.isnan(values.number("at_max_1_None")).all()


def test_a_row_that_is_none_of_the_view_takes_the_stored_one_out():
    """One with an id; one without takes nothing out."""
    log = [Edit(1, f"{n:032x}", 0, "a", str(n), n, False, {"seconds": n}) for n in (1, 2, 3)]
    for row_id, count in ((2, 2), (None, 3)):
        wants = Wants(["a"], [3], None, [{"id": row_id}], frozenset([0]))
        both = [one.find(wants, Answer.of([packed(log)]), [0], Reached("f" * 32, 0)).of(0) for one in (KERNEL, NUMPY)]
        assert both[0]["None_count_7_None"].value == count
        assert not unlike(*both)


def test_views_with_text_or_lists_go_without_the_kernel():
    for column, function in (("country", "last"), ("amount", "last_n")):
        view = view_of(COLUMNS if column == "country" else NUMBERS, (WindowFeature("f", function, column, 5),))
        layout = RowLayout.of(Plan("test", (TABLE,), (view,), ()), view)
        assert ViewReader(view, layout, Names("main"), None)._compiled is None
