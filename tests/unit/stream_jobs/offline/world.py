"""A small captured table with columns of every kind, random histories of it, and its changes as the lake has them.

Some columns are called as the SQL calls things of its own: that must not matter.
"""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa
from hypothesis import strategies as st

from stream_jobs.lake import schema
from stream_jobs.plan import CapturedTable, Column, View, WindowFeature
from tests.unit.stream_jobs.offline.oracle import Event, Question

HOUR = 3_600_000_000
START = 1_540_000_000_000_000

TABLE = CapturedTable(
    "bank", "public.payments", "main.cdc.bank.public.payments", ("id",),
    (
        Column("id", "int64"), Column("at", "timestamp_us"), Column("card", "int64"), Column("place", "string"),
        Column("amount", "decimal", 2), Column("weight", "float64"), Column("code", "int64"),
        Column("added", "string"), Column("online", "bool"),
    ),
    "at", True,
)  # fmt: skip

_CARRIED = tuple(column for column in TABLE.columns if column.name in ("amount", "weight", "code", "added", "online"))


def _features() -> tuple[WindowFeature, ...]:
    features = [WindowFeature("rows", "count", None, 5 * HOUR), WindowFeature("rows_short", "count", None, HOUR)]
    numeric = ("count", "sum", "mean", "std", "min", "max", "count_distinct", "first", "last", "last_n")
    for column, functions in {
        "amount": numeric,
        "weight": numeric,
        "code": numeric,
        "added": ("count", "min", "max", "count_distinct", "first", "last", "last_n"),
        "online": ("count", "count_distinct", "first", "last", "last_n"),
    }.items():
        features += [WindowFeature(f"{column}_{f}", f, column, 4 * HOUR, n=2) for f in functions]  # type: ignore[arg-type]
    features.append(WindowFeature("online_mean", "mean", "amount", 3 * HOUR, where="online", default=0))
    return tuple(features)


VIEW = View(
    "card_payments", 1, "bank", "public.payments", TABLE.topic, "main.edits.card_payments.v1", "card",
    ("card", "place"), "id", "at", _CARRIED, _features(), "", "",
)  # fmt: skip


_ADDITIVE = tuple(
    feature
    for feature in (
        *VIEW.features,
        WindowFeature("online_kind_count", "count", "added", 2 * HOUR, where="online"),
        WindowFeature("points_sum_short", "sum", "code", HOUR, default=7),
        WindowFeature("online_sum_long", "sum", "online", 6 * HOUR),
    )
    if feature.function in ("count", "sum", "mean") and (feature.function == "count" or feature.column != "weight")
)
SUMS = msgspec.structs.replace(VIEW, features=_ADDITIVE)
"""The same view with the features alone that are sums, for which unchanged rows are not joined."""


def position(n: int) -> str:
    return f"{n:032x}"


_CENTS = st.none() | st.integers(-10_000, 10_000).map(lambda cents: Decimal(cents) / 100)
_ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(1, 6),
        "at": st.none() | st.integers(0, 32).map(lambda quarter: START + quarter * HOUR // 4),
        "card": st.integers(1, 2),
        "place": st.sampled_from(["a", "b'"]),
        "amount": _CENTS,
        "weight": st.none() | st.floats(-1e3, 1e3, width=32),
        "code": st.none() | st.integers(-5, 5),
        "added": st.none() | st.sampled_from(["x", "y", "zé"]),
        "online": st.none() | st.booleans(),
    }
)


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A snapshot (one position), then inserts, updates, key moves, deletes, truncates, repeats of each."""
    state: dict[int, dict[str, Any]] = {}
    events: list[Event] = []
    for row in draw(st.lists(_ROWS, max_size=5, unique_by=lambda row: row["id"])):
        state[row["id"]] = row
        events.append(Event("r", position(7), row["at"] or START, row))
    for step, (row, choice) in enumerate(draw(st.lists(st.tuples(_ROWS, st.integers(0, 19)), max_size=25))):
        at, known = position(100 + step), START + step * HOUR // 3
        stored = state.get(row["id"])
        if choice == 0:
            state.clear()
            events.append(Event("t", at, known, None))
        elif stored is not None and choice < 6:
            events.append(Event("d", at, known, state.pop(row["id"])))
        else:
            state[row["id"]] = row
            events.append(Event("u" if stored is not None else "c", at, known, row))
        if choice == 19 and events[-1].op != "t":
            events.append(events[-1])
    return draw(st.permutations(events))


@st.composite
def long_histories(draw: st.DrawFn) -> list[Event]:
    """Up to 120 changes, most of them inserts in the order of their event times, as histories are outside of tests."""
    chance = draw(st.randoms(use_true_random=False))
    state: dict[int, dict[str, Any]] = {}
    events: list[Event] = []
    for step in range(chance.randrange(120)):
        at, known, usual = position(100 + step), START + step * HOUR // 12, chance.random()
        row = {
            "id": step, "at": known - chance.choice([0, 0, 0, 0, 0, 1, 5, -3]) * HOUR,
            "card": chance.choice([1, 1, 2]), "place": chance.choice(["a", "a", "b'"]),
            "amount": chance.choice([None, Decimal(chance.randrange(9999)) / 100]), "weight": None,
            "code": chance.choice([None, 3, -4, 2**58, -(2**58)]), "added": chance.choice([None, "x"]),
            "online": chance.choice([None, True, False]),
        }  # fmt: skip
        if usual < 0.85 or not state:
            events.append(Event("c", at, known, row))
        elif usual < 0.92:
            events.append(Event("u", at, known, row | {"id": chance.choice(list(state))}))
        elif usual < 0.98:
            events.append(Event("d", at, known, state[chance.choice(list(state))]))
        else:
            events.append(chance.choice([Event("t", at, known, None), events[-1]]))
        last = events[-1]
        if last.row is None:
            state.clear()
        elif last.op == "d":
            state.pop(last.row["id"], None)
        else:
            state[last.row["id"]] = last.row
    chance.shuffle(events)
    return events


@st.composite
def questions(draw: st.DrawFn, cut: str, in_hand: bool) -> Question:
    entity = (draw(st.integers(1, 3)), draw(st.sampled_from(["a", "b'"])))
    as_of = draw(st.integers(0, 40).map(lambda quarter: START + quarter * HOUR // 4))
    hand = None
    if in_hand and draw(st.booleans()):
        hand = draw(_ROWS) | {"at": as_of, "card": entity[0], "place": entity[1]}
    return Question(
        entity, as_of,
        position(draw(st.sampled_from([0, 7, *range(100, 221)]))) if cut == "position" else None,
        draw(st.integers(-2, 30).map(lambda third: START + third * HOUR // 3)) if cut == "known_at" else None,
        hand,
    )  # fmt: skip


def change_table(events: list[Event]) -> pa.Table:
    """The events in the schema of the change table."""
    rows = []
    for n, event in enumerate(events):
        row: dict[str, Any] = {
            "op": event.op, "position": event.position, "known_at": event.known_us, "assumed": event.op == "r",
            "partition": 0, "offset": n, "commit_date": datetime.date(2018, 10, 20),
        }  # fmt: skip
        image = "before" if event.op == "d" else "after"
        for name, value in (event.row or {}).items():
            row[f"{image}_{name}"] = value
        rows.append(row)
    return pa.Table.from_pylist(rows, schema=schema.changes(TABLE))
