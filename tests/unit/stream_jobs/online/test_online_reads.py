"""What the reader makes of packed bytes, rows in hand, cuts and compacted logs, against brute force."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.names import Names
from appliance.records import Edit
from stream_jobs.errors import CutTooOldError
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.answers import Answer
from stream_jobs.online.compact import compact
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, RowLayout, header
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import Lookup, OnlineReader, RowInHand
from stream_jobs.online.view_reader import ViewReader, Wants
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service, View
from stream_jobs.windows.edits import halves
from tests.unit.stream_jobs.windows import brute_force
from tests.unit.stream_jobs.windows.logs import COLUMN_VALUES, COLUMNS, CUTS, FEATURES, TIMES, histories
from tests.unit.stream_jobs.windows.test_windows_against_brute_force import same

NAMES = Names("main")
TABLE = CapturedTable("bank", "public.tx", "cdc", ("id",), (Column("id", "int64"),), "at", True)
VIEW = View(
    "payments", 1, "bank", "public.tx", "cdc", "edits", "who", ("who",), "id", "at", COLUMNS, FEATURES, "", "hash"
)
SERVICE = Service(
    "s", "bank", "public.tx", "cdc", "id", "at", (), ("payments",), ("payments",), (), (), "m", Policy(0.5, 0.9, 1, ""),
    "hash",
)  # fmt: skip
PLAN = Plan("test", (TABLE,), (VIEW,), (SERVICE,))
LAYOUT = RowLayout.of(PLAN, VIEW)
LONGEST = max(feature.window_us for feature in FEATURES)


class EveryEdit:
    """A history that has the whole log."""

    def __init__(self, log: list[Edit]) -> None:
        self.log, self.asked = log, 0

    def edits(self, view: View, entity: str, cut: str) -> list[Edit]:
        self.asked += 1
        return [edit for edit in self.log if edit.position <= cut]


def packed(log: list[Edit]) -> bytes:
    return EMPTY + b"".join(map(LAYOUT.encode, log))


def check(values: dict, log: list[Edit], cut: str, as_of: int, hand: Edit | None = None) -> None:
    for feature in FEATURES:
        wanted = brute_force.value(log, cut, as_of, feature, list(COLUMNS), hand)
        got = values[feature.name].value
        assert same(got, wanted, feature.function), (feature, got, wanted)


def read(
    raw: bytes | None, cut: str, as_of: int, history: EveryEdit | None = None, hand: dict | None = None, own: str = ""
) -> dict:
    """Feature → value of one entity. hand, own: the row in hand and its position."""
    wants = Wants(["a"], [as_of], [own] if own else None, None if hand is None else [hand])
    reader = ViewReader(VIEW, LAYOUT, NAMES, history)
    return reader.find(wants, Answer.of([raw]), [0], Reached(cut, 0)).of(0)


@settings(max_examples=60, deadline=None)
@given(histories(), CUTS, TIMES, st.sampled_from(["", "1", "2", "77"]), COLUMN_VALUES, st.sampled_from([None, 3, 40]))
def test_rows_in_hand(history, cut, as_of, row_id, columns, own):
    """own: the row's position for CDC; the cut is then never above it."""
    log = history["a"]
    position = None if own is None else f"{own:032x}"
    hand = Edit(1, position or "f" * 32, 0, "a", row_id, as_of, False, columns)
    values = read(packed(log), cut, as_of, None, {"who": "a", "id": row_id, **columns}, position or "")
    check(values, log, min(cut, position or cut), as_of, hand)


@settings(max_examples=60, deadline=None)
@given(histories(), CUTS, CUTS, TIMES, st.integers(-20, 20), st.integers(0, 5), st.randoms(use_true_random=False))
def test_compaction_changes_no_read_it_answers(history, fold_to, cut, as_of, remove_to, late, shuffle):
    """Everything up to the fold had arrived; what comes later is appended, repeats of what was folded too."""
    log = history["a"]
    arrived = [edit for edit in log if edit.position <= fold_to or shuffle.random() < 0.5]
    appended = [edit for edit in log if edit not in arrived] + shuffle.sample(log, min(late, len(log)))
    small = compact(LAYOUT, packed(arrived), halves(fold_to), remove_to)
    again = compact(LAYOUT, small + b"".join(map(LAYOUT.encode, appended)), halves(fold_to), remove_to)
    for raw in (small + b"".join(map(LAYOUT.encode, appended)), again):
        answers = cut >= fold_to and as_of - LONGEST >= remove_to
        if answers or not header(raw).compacted:
            check(read(raw, cut, as_of), log, cut, as_of)
        else:
            with pytest.raises(CutTooOldError):
                read(raw, cut, as_of)
            everything = EveryEdit(log)
            check(read(raw, cut, as_of, everything), log, cut, as_of)
            assert everything.asked == 1


def test_compaction_takes_out_what_it_should():
    columns = dict.fromkeys((c.name for c in COLUMNS), None)
    log = []
    for number in range(1, 101):
        log.append(Edit(1, f"{number:032x}", 0, "a", str(number), number, False, columns))
        if number % 2:
            log.append(Edit(-1, f"{number + 100:032x}", 0, "a", str(number), number, False, columns))
    raw = packed(log)
    small = compact(LAYOUT, raw, halves(f"{150:032x}"), 60)
    kept = LAYOUT.decode([small[HEADER_BYTES:]])
    # Rows 61…100 live at 150 (odd ones up to 49 were taken out by then), and the 25 later removals.
    assert (kept.batch.sign > 0).sum() == 40
    assert (kept.batch.sign < 0).sum() == 25
    assert header(small).removed == 60
    assert compact(LAYOUT, small, halves(f"{100:032x}"), 60) == small


def test_an_entity_stays_known_when_its_rows_are_gone():
    columns = dict.fromkeys((c.name for c in COLUMNS), None)
    raw = compact(LAYOUT, packed([Edit(1, f"{1:032x}", 0, "a", "1", 1, False, columns)]), (0, 5), 10)
    assert read(raw, f"{5:032x}", 100)[FEATURES[0].name].status == "present"
    assert read(None, f"{5:032x}", 100)[FEATURES[0].name].status == "missing"


def _lookup(rows: list[RowInHand], store: dict[str, bytes]) -> list:
    lookup = OnlineReader(None, NAMES, PLAN).lookup(SERVICE, rows)
    assert isinstance(lookup, Lookup)
    return lookup.vectors([store.get(key) for key in lookup.keys])


def test_http_kafka_and_cdc_give_one_vector():
    """Before its row is committed, after it, and with the row's own position."""
    chance = random.Random(1)
    columns = [{"amount": f"{chance.randrange(999)}.5", "seconds": n} for n in range(12)]
    log = [Edit(1, f"{n + 1:032x}", 0, "7", str(n), n, False, columns[n]) for n in range(12)]
    key = NAMES.redis_edits("payments", 1, "7")
    reached = reached_positions.key(NAMES, VIEW)
    before = {key: packed(log[:-1]), reached: reached_positions.encode(Reached(f"{11:032x}", 0))}
    after = {key: packed(log), reached: reached_positions.encode(Reached(f"{12:032x}", 0))}
    row = {"who": 7, "id": 11, **columns[-1]}
    (http,) = _lookup([RowInHand(11, row)], before)
    (later,) = _lookup([RowInHand(11, row)], after)
    (cdc,) = _lookup([RowInHand(11, row, f"{12:032x}")], after)
    (early,) = _lookup([RowInHand(11, row, f"{12:032x}")], before)
    plain = [{name: value.value for name, value in v.features.items()} for v in (http, later, cdc, early)]
    assert plain[0] == plain[1] == plain[2] == plain[3]
    assert [v.behind for v in (http, later, cdc, early)] == [False, False, False, True]
    assert cdc.cuts == {"payments": f"{12:032x}"}
    assert early.cuts == {"payments": f"{11:032x}"}
    assert http.features["payments:None_count_7_None"].value == 7


def test_unknown_entities_and_null_keys_are_missing_and_not_errors():
    rows = [RowInHand(5, {"who": "nobody", "id": 1}), RowInHand(5, {"who": None, "id": 1}), RowInHand(5, {})]
    for vector in _lookup(rows, {}):
        assert {value.status for value in vector.features.values()} == {"missing"}
        assert vector.cuts == {"payments": "0" * 32}
        assert vector.reached == {"payments": ""}


def test_rows_of_one_entity_share_its_key():
    rows = [RowInHand(5, {"who": 1}), RowInHand(6, {"who": 1}), RowInHand(6, {"who": 2})]
    assert len(OnlineReader(None, NAMES, PLAN).lookup(SERVICE, rows).keys) == 3


def test_reached_is_the_lowest_of_all_channels():
    seen = {(0, "cdc/0"): Reached("2", 20), (1, "cdc/0"): Reached("1", 10)}
    assert reached_positions.lowest(seen, seen) == Reached("1", 10)
    assert reached_positions.lowest([*seen, (0, "cdc/1")], seen) is None
    assert reached_positions.lowest([], seen) is None
