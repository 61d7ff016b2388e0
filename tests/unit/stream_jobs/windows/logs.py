"""Random edit logs, made the way a database makes them: transactions that insert, change, move and delete rows."""

from __future__ import annotations

from hypothesis import strategies as st

from appliance.records import Edit
from stream_jobs.plan import Column, WindowFeature

COLUMNS = (
    Column("amount", "decimal", 2),
    Column("seconds", "int64"),
    Column("distance", "float64"),
    Column("fraud", "bool"),
    Column("country", "string"),
    Column("at", "timestamp_us"),
)
_WINDOWS = (1, 3, 7, 20)
_FUNCTIONS = {
    None: ("count",),
    "amount": ("count", "sum", "mean", "min", "max", "std", "count_distinct", "first", "last", "last_n"),
    "seconds": ("count", "sum", "mean", "min", "max", "std", "count_distinct", "first", "last", "last_n"),
    "distance": ("sum", "mean", "min", "max", "std", "count_distinct", "last"),
    "fraud": ("sum", "mean", "min", "max", "std", "first", "last"),
    "country": ("count", "count_distinct", "min", "max", "first", "last", "last_n"),
    "at": ("min", "max", "first", "last", "count_distinct"),
}
FEATURES = tuple(
    WindowFeature(f"{column}_{function}_{window}_{where}", function, column, window, where, n=2, default=default)
    for column, functions in _FUNCTIONS.items()
    for function in functions
    for window, where, default in ((1, None, None), (3, "fraud", -1), (7, None, 0.5), (20, "fraud", None))
)

ENTITIES = ("a", "b")
_AMOUNTS = st.integers(-10_000, 10_000).map(lambda cents: f"{cents / 100:.2f}") | st.sampled_from(["0.1", "0.20", "7"])


def _or_null(values: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | values


COLUMN_VALUES = st.fixed_dictionaries(
    {
        "amount": _or_null(_AMOUNTS),
        "seconds": _or_null(st.integers(-5, 5) | st.sampled_from([2**62, -(2**62), 2**63 - 1])),
        "distance": _or_null(st.floats(-1e6, 1e6, allow_nan=False)),
        "fraud": _or_null(st.booleans()),
        "country": _or_null(st.sampled_from(["", "DE", "FR", "ÅL"])),
        "at": _or_null(st.integers(0, 30)),
    }
)
TIMES = st.integers(0, 30)


@st.composite
def histories(draw: st.DrawFn) -> dict[str, list[Edit]]:
    """Entity → its edits, as they lie in a store: shuffled and with repeats."""
    logs: dict[str, list[Edit]] = {entity: [] for entity in ENTITIES}
    table: dict[str, Edit] = {}
    changed: dict[str, str] = {}
    snapshot = draw(st.integers(0, 5))
    for step in range(draw(st.integers(0, 25))):
        # Snapshot rows share one position; later transactions each have their own, some with several rows.
        position = f"{1 if step < snapshot else step // draw(st.integers(1, 2)) + 2:032x}"
        row_id = str(draw(st.integers(1, 6)))
        if position <= changed.get(row_id, ""):  # a row has one state at a position, also one that was deleted since
            continue
        changed[row_id] = position
        before = table.pop(row_id, None)
        if before is not None:
            logs[before.entity].append(
                Edit(-1, position, step, before.entity, row_id, before.event_time, False, before.columns)
            )
        if before is None or draw(st.booleans()):
            entity = draw(st.sampled_from(ENTITIES))
            after = Edit(1, position, step, entity, row_id, draw(TIMES), False, draw(COLUMN_VALUES))
            logs[entity].append(after)
            table[row_id] = after
    for log in logs.values():
        if log:
            log += draw(st.lists(st.sampled_from(log), max_size=4))
    return {entity: draw(st.permutations(log)) for entity, log in logs.items()}


CUTS = st.integers(0, 30).map(lambda number: f"{number:032x}")
HANDS = st.none() | st.tuples(st.sampled_from(["", "1", "2", "3", "77"]), COLUMN_VALUES)
