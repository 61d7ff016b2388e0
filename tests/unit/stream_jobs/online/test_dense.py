"""A dense entity's tiles and later edits give what its whole log gives."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.names import Names
from appliance.records import Edit
from stream_jobs.errors import CutTooOldError, PackedError
from stream_jobs.online import dense
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.compact import compact
from stream_jobs.online.dense import DenseView, directory, tile_keys, together
from stream_jobs.online.dense_reader import LastTiles
from stream_jobs.online.packed import EMPTY, HEADER_BYTES, RowLayout, is_dense
from stream_jobs.online.reached import Reached
from stream_jobs.online.reader import OnlineReader, RowInHand
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service, View, WindowFeature
from stream_jobs.windows.edits import halves
from tests.unit.stream_jobs.windows import brute_force
from tests.unit.stream_jobs.windows.logs import COLUMN_VALUES, COLUMNS, FEATURES, TIMES, histories
from tests.unit.stream_jobs.windows.test_windows_against_brute_force import same

NAMES = Names("main")
NUMBERS = tuple(column for column in COLUMNS if column.type != "string")
DENSE = tuple(
    f
    for f in FEATURES
    if f.column != "country"
    and f.function in dense.FUNCTIONS
    and not (f.column == "distance" and f.function in ("sum", "mean", "std"))
)
TABLE = CapturedTable("bank", "public.tx", "cdc", ("id",), (Column("id", "int64"),), "at", True)
VIEW = View("v", 1, "bank", "public.tx", "cdc", "e", "who", ("who",), "id", "at", NUMBERS, DENSE, "", "hash")
SERVICE = Service(
    "s", "bank", "public.tx", "cdc", "id", "at", (), ("v",), ("v",), (), (), "m", Policy(0.5, 0.9, 1, ""), "hash"
)  # fmt: skip
PLAN = Plan("test", (TABLE,), (VIEW,), (SERVICE,))
LAYOUT = RowLayout.of(PLAN, VIEW)
KEY = NAMES.redis_edits("v", 1, "a")
REACHED = reached_positions.key(NAMES, VIEW)


class Store(dict):
    """MGET of a dictionary; ``before`` is called with the keys."""

    def mget(self, keys):
        self.asked = list(keys)
        return [self.get(key) for key in keys]


@pytest.fixture(autouse=True)
def _small_tiles(monkeypatch):
    monkeypatch.setattr(dense, "_FEWEST_ROWS", 2)
    monkeypatch.setattr(dense, "_EDGES", 10**6)


def packed(log: list[Edit]) -> bytes:
    return EMPTY + b"".join(map(LAYOUT.encode, log))


def put(store: Store, raw: bytes, generation: int) -> bool:
    """Put a compacted log into the store as a dense entity; False when it stays plain."""
    view = DenseView.of(LAYOUT, DENSE)
    assert view is not None
    made = view.tile(raw, generation)
    if made is None:
        store[KEY] = raw
        return False
    store[KEY] = made[0]
    store.update(zip(tile_keys(NAMES, VIEW, "a", directory(made[0]), range(len(made[1]))), made[1], strict=True))
    return True


def read(store: Store, cut: str, as_of: int, row: dict, own: str | None = None) -> dict:
    store[REACHED] = reached_positions.encode(Reached(cut, 0))
    lookup = OnlineReader(store, NAMES, PLAN).lookup(SERVICE, [RowInHand(as_of, row, own)])
    (vector,) = lookup.vectors([store.get(key) for key in lookup.keys])
    return {name.removeprefix("v:"): one.value for name, one in vector.features.items()}


def check(values: dict, log: list[Edit], cut: str, as_of: int, hand: Edit) -> None:
    for feature in DENSE:
        wanted = brute_force.value(log, cut, as_of, feature, list(COLUMNS), hand)
        assert same(values[feature.name], wanted, feature.function), (feature, values[feature.name], wanted)


@settings(max_examples=120, deadline=None)
@given(
    histories(), st.integers(1, 25), st.integers(0, 8), TIMES, st.sampled_from(["", "1", "2", "6", "77"]),
    COLUMN_VALUES, st.integers(0, 5), st.randoms(use_true_random=False),
)  # fmt: skip
def test_tiles_and_later_edits_give_what_the_whole_log_gives(
    history, fold_to, later, as_of, row_id, columns, repeats, shuffle
):
    """Rows changed, deleted, repeated and moved in time after they went into tiles; rows in hand that lie in one."""
    log, position, store = history["a"], f"{fold_to:032x}", Store()
    arrived = [edit for edit in log if edit.position <= position or shuffle.random() < 0.5]
    appended = [edit for edit in log if edit not in arrived] + shuffle.sample(log, min(repeats, len(log)))
    put(store, compact(LAYOUT, packed(arrived), halves(position), -100), 7)
    store[KEY] += b"".join(map(LAYOUT.encode, appended))
    cut = f"{fold_to + later:032x}"
    row = {"who": "a", "id": row_id and int(row_id), **columns}
    hand = Edit(1, "f" * 32, 0, "a", row_id, as_of, False, columns)
    check(read(store, cut, as_of, row), log, cut, as_of, hand)


@settings(max_examples=60, deadline=None)
@given(histories(), st.integers(1, 12), st.integers(1, 12), TIMES)
def test_tiles_are_folded_again_with_what_came_later(history, first, more, as_of):
    log, store = history["a"], Store()
    earlier = [edit for edit in log if edit.position <= f"{first:032x}"]
    put(store, compact(LAYOUT, packed(earlier), (0, first), -100), 7)
    store[KEY] += b"".join(LAYOUT.encode(edit) for edit in log if edit not in earlier)
    if is_dense(store[KEY]):
        made = directory(store[KEY])
        tiles = store.mget(tile_keys(NAMES, VIEW, "a", made, range(made.tiles)))
        put(store, compact(LAYOUT, together(made, tiles, LAYOUT), (0, first + more), -100), 8)
    cut = f"{first + more:032x}"
    hand = Edit(1, "f" * 32, 0, "a", "", as_of, False, {})
    row = dict.fromkeys(column.name for column in NUMBERS)
    check(read(store, cut, as_of, {"who": "a", "id": None, **row}), log, cut, as_of, replace(hand, row))


def replace(edit: Edit, columns: dict) -> Edit:
    return Edit(1, edit.position, 0, edit.entity, edit.row_id, edit.event_time, False, columns)


def long_log(rows: int, seed: int = 1) -> list[Edit]:
    chance = random.Random(seed)
    return [
        Edit(1, f"{n:032x}", 0, "a", str(n), n, False, {
            "amount": f"{chance.randrange(9999)}.25", "seconds": chance.randrange(9), "distance": chance.random(),
            "fraud": chance.random() < 0.1, "at": n,
        })
        for n in range(1, rows + 1)
    ]  # fmt: skip


WIDE = tuple(
    WindowFeature(f"{f.name}_{window}", f.function, f.column, window, f.where, default=f.default)
    for f in DENSE
    for window in (40, 400)
)
WIDE_VIEW = View("v", 1, "bank", "public.tx", "cdc", "e", "who", ("who",), "id", "at", NUMBERS, WIDE, "", "hash")
WIDE_PLAN = Plan("test", (TABLE,), (WIDE_VIEW,), (SERVICE,))


def business(chance: random.Random, rows: int, seconds: int) -> list[Edit]:
    """Inserts, some late, with nulls, and changes of a fifth of the rows, in commit order, several at one time."""
    log, live = list[Edit](), list[Edit]()
    for place in range(1, rows + 1):
        if live and chance.random() < 0.2:
            before = live.pop(chance.randrange(len(live)))
            log.append(Edit(-1, f"{place:032x}", 0, "a", before.row_id, before.event_time, False, before.columns))
            if chance.random() < 0.4:
                continue
            row_id = before.row_id
        else:
            row_id = str(place)
        at = max(0, place * seconds // rows - (chance.randrange(seconds) if chance.random() < 0.1 else 0))
        columns = {
            "amount": None if chance.random() < 0.2 else f"{chance.randrange(-999, 999)}.{chance.randrange(10)}",
            "seconds": chance.choice([None, 1, 2, -7]), "distance": chance.choice([None, 0.5, -3.25]),
            "fraud": chance.choice([None, True, False, False]), "at": place,
        }  # fmt: skip
        live.append(Edit(1, f"{place:032x}", 0, "a", row_id, at, False, columns))
        log.append(live[-1])
    return log


@pytest.mark.parametrize("seed", range(25))
def test_many_tiles_give_what_the_whole_log_gives(seed):
    """Partials of many tiles, folded once or twice, edits of rows in them, repeats; beside the same log kept whole."""
    chance = random.Random(seed)
    rows = chance.choice([60, 300, 900])
    log, made = business(chance, rows, 500), DenseView.of(LAYOUT, WIDE)
    late = chance.randrange(1, rows // 4)
    first, second = sorted(chance.sample(range(rows // 2, rows - late), 2))
    raw = compact(LAYOUT, packed([e for e in log if e.position <= f"{first:032x}"]), (0, first), -(10**6))
    main, tiles = made.tile(raw, 1)
    main += b"".join(LAYOUT.encode(edit) for edit in log if edit.position > f"{first:032x}")
    if chance.random() < 0.5:
        raw = compact(LAYOUT, together(directory(main), tiles, LAYOUT), (0, second), -(10**6))
        main, tiles = made.tile(raw, 2)
    main += b"".join(map(LAYOUT.encode, chance.sample(log, 3)))
    store = Store(zip(tile_keys(NAMES, WIDE_VIEW, "a", directory(main), range(len(tiles))), tiles, strict=True))
    reader, used = OnlineReader(store, NAMES, WIDE_PLAN), 0
    for _ in range(12):
        cut = f"{chance.randrange(second, rows + 1):032x}"
        reached = reached_positions.encode(Reached(cut, 0))
        row = {"who": "a", "id": chance.choice([None, chance.randrange(1, rows), 10**9]), **log[0].columns}
        lookup = reader.lookup(SERVICE, [RowInHand(chance.randrange(550), row)])
        store.asked, along = [], lookup.keys[2:]
        rest = [store.get(key) for key in along]
        (dense_one,) = lookup.vectors([reached, main, *rest])
        used += len(tiles) - len({*store.asked, *along})
        (whole,) = lookup.vectors([reached, packed(log), *rest])
        for name, value in whole.features.items():
            assert repr(dense_one.features[name].value) == repr(value.value), (name, cut, row)
    assert used > 0 or rows == 60


def test_a_read_takes_few_tiles_as_rows(monkeypatch):
    """However long the window is; a deleted row brings in the one tile that has it."""
    wide = tuple(WindowFeature(f"{f.name}", f.function, f.column, 10**6, f.where) for f in DENSE)
    view = View(**{**{n: getattr(VIEW, n) for n in VIEW.__struct_fields__}, "features": wide})
    plan = Plan("test", (TABLE,), (view,), (SERVICE,))
    made = DenseView.of(LAYOUT, wide)
    log = long_log(3000)
    main, tiles = made.tile(compact(LAYOUT, packed(log), (0, 3000), -(10**9)), 1)
    assert len(tiles) == 1500
    gone = Edit(-1, f"{3001:032x}", 0, "a", "1500", 1500, False, log[1499].columns)
    store = Store({KEY: main + LAYOUT.encode(gone), REACHED: reached_positions.encode(Reached("f" * 32, 0))})
    store.update(zip(tile_keys(NAMES, view, "a", directory(main), range(1500)), tiles, strict=True))
    (values,) = (
        OnlineReader(store, NAMES, plan)
        .lookup(SERVICE, [RowInHand(5000, {"who": "a"})])
        .vectors([store[REACHED], store[KEY]])
    )
    assert len(store.asked) <= 8
    assert values.features["v:None_count_7_None"].value == 3000  # 3000 rows, one gone, one in hand
    amounts = [float(edit.columns["amount"]) for edit in log if edit.row_id != "1500"]
    assert values.features["v:amount_mean_7_None"].value == sum(amounts) / 2999
    assert values.features["v:amount_std_7_None"].value == pytest.approx(
        (sum((a - sum(amounts) / 2999) ** 2 for a in amounts) / 2998) ** 0.5
    )


def test_sums_beyond_64_bits_are_exact_all_the_same():
    columns = dict.fromkeys((c.name for c in NUMBERS), None)
    log = [Edit(1, f"{n:032x}", 0, "a", str(n), n, False, {**columns, "seconds": 2**61}) for n in range(1, 9)]
    store = Store()
    put(store, compact(LAYOUT, packed(log), (0, 4), -100), 7)
    hand = Edit(1, "f" * 32, 0, "a", "", 8, False, columns)
    check(read(store, "f" * 32, 8, {"who": "a", **columns}), log, "f" * 32, 8, hand)


def test_a_cut_before_the_tiles_needs_history():
    store = Store()
    assert put(store, compact(LAYOUT, packed(long_log(50)), (0, 40), -100), 7)
    with pytest.raises(CutTooOldError):
        read(store, f"{39:032x}", 50, {"who": "a"})


def test_tiles_that_were_written_anew_meanwhile_are_read_again():
    """The main key that was read names tiles that are gone; then its newer one is read."""
    log, store = long_log(50), Store()
    assert put(store, compact(LAYOUT, packed(log), (0, 40), -100), 7)
    old = Store({key: value for key, value in store.items() if key == KEY})
    store.clear()
    assert put(store, compact(LAYOUT, packed(log), (0, 45), -100), 8)
    raw = [reached_positions.encode(Reached("f" * 32, 0)), old[KEY]]
    (vector,) = OnlineReader(store, NAMES, PLAN).lookup(SERVICE, [RowInHand(50, {"who": "a"})]).vectors(raw)
    assert vector.features["v:None_count_7_None"].value == 8
    store.clear()
    store[KEY] = old[KEY]
    with pytest.raises(PackedError, match="tiles"):
        OnlineReader(store, NAMES, PLAN).lookup(SERVICE, [RowInHand(50, {"who": "a"})]).vectors(raw)


def again(reader: OnlineReader, store: Store, as_of: int, also: tuple[str, ...] = ()):
    """One more read of the same reader; ``store.asked`` is what it had to fetch in a second round trip."""
    store.asked = []
    lookup = reader.lookup(SERVICE, [RowInHand(as_of, {"who": "a"})], also)
    return lookup.vectors([store.get(key) for key in lookup.keys])


def values_of(vectors) -> list[dict]:
    return [{name: one.value for name, one in vector.features.items()} for vector in vectors]


def test_the_next_read_of_a_dense_entity_needs_no_second_round_trip():
    log, store = long_log(50), Store({REACHED: reached_positions.encode(Reached("f" * 32, 0)), "other": b"1"})
    assert put(store, compact(LAYOUT, packed(log), (0, 40), -100), 7)
    reader = OnlineReader(store, NAMES, PLAN)
    first = again(reader, store, 30)
    assert store.asked, "there was nothing to fetch: the test shows nothing"
    second = again(reader, store, 30, also=("other", "missing"))
    assert store.asked == []
    assert values_of(second) == values_of(first)
    assert second.also == [b"1", None]


def test_tiles_read_along_that_are_not_those_it_takes_change_nothing():
    log, store = long_log(50), Store({REACHED: reached_positions.encode(Reached("f" * 32, 0))})
    assert put(store, compact(LAYOUT, packed(log), (0, 40), -100), 7)
    reader = OnlineReader(store, NAMES, PLAN)
    again(reader, store, 12)
    for as_of in (35, 35, 50, 3):
        found, fresh = again(reader, store, as_of), again(OnlineReader(store, NAMES, PLAN), store, as_of)
        assert values_of(found) == values_of(fresh)
    assert put(store, compact(LAYOUT, packed(log), (0, 45), -100), 8)
    found = again(reader, store, 35)
    assert store.asked, "tiles of another generation were taken"
    assert values_of(found) == values_of(again(OnlineReader(store, NAMES, PLAN), store, 35))


def test_only_so_many_entities_are_remembered():
    tiles = LastTiles(most=2)
    assert not tiles
    for entity in ("a", "b", "a", "c"):
        tiles.note(entity, [f"{entity}-1", f"{entity}-2"])
    assert list(tiles.of(["a", "b", "c", "d"])) == ["a-1", "a-2", "c-1", "c-2"]


def test_a_directory_that_is_cut_off_is_refused():
    store = Store()
    assert put(store, compact(LAYOUT, packed(long_log(50)), (0, 40), -100), 7)
    with pytest.raises(PackedError):
        directory(store[KEY][: HEADER_BYTES + 40])


def test_views_whose_partials_have_no_bound_stay_plain():
    for feature in (WindowFeature("f", "count_distinct", "seconds", 5), WindowFeature("f", "sum", "distance", 5)):
        assert DenseView.of(LAYOUT, (feature,)) is None
