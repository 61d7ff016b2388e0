"""Change records of every kind, and what a view's job must make of each, written without a look at the SQL."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where a change stands: what Debezium writes into ``source`` and beside it, and the position it must have."""

    origin: Row
    beside: Row
    position: str
    committed: int


@dataclass(frozen=True)
class Record:
    """value: as produced. edits: those expected. dead: codes of the dead letters expected."""

    value: bytes | None
    edits: tuple[dict[str, Any], ...] = ()
    dead: tuple[str, ...] = ()


def row(chance: random.Random, number: int) -> Row:
    at = datetime(2018, 4, 1, tzinfo=UTC) + timedelta(microseconds=chance.randrange(10**13))
    fraction = chance.choice(["", ".5", ".123", ".123456"])
    return {
        "id": number,
        "customer": chance.choice([1, 2, -3, 12345678901234]),
        "place": chance.choice(["Köln", "a'b", 'say "x"', "über\u001e", "|"]),
        "at": at.strftime("%Y-%m-%dT%H:%M:%S") + fraction + "Z",
        "amount": chance.choice(["0.00", "12.50", "-7.25", "99999999999999.99", None]),
        "ok": chance.choice([True, False, None]),
        "weight": chance.choice([0.5, -1e-7, 3, None]),
        "note": chance.choice(["", "null", "ß\n", None]),
        "seen": chance.choice([0, -1, 1_522_540_831_000_001, None]),
        "unused": [1, {"a": 2}],
    }


def microseconds(text: str) -> int:
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)


def place(chance: random.Random, lsn: int, *, snapshot: bool) -> Place:
    """Of the databases' three kinds: after a commit, before the first one, and in a binlog."""
    committed = lsn * 1000
    if chance.random() < 0.3:
        file, offset, number = chance.randrange(1, 10**9), lsn + 4, chance.choice([0, 1, 77])
        prefix = chance.choice(["mariadb-bin", "a.0001", "ü"])
        origin = {"sequence": None, "file": f"{prefix}.{file:06d}", "pos": offset, "row": number, "gtid": "0-1-2"}
        base = chance.choice([None, 0, 2000])
        beside = {} if base is None else {"appliance_base": str(base)}
        return Place(origin, beside, f"{file + (base or 0):08x}{offset:016x}{number:08x}", committed)
    if not snapshot and chance.random() < 0.9:
        return Place({"sequence": f'["{lsn - 1}","{lsn}"]'}, {}, f"{lsn - 1:016x}{lsn:016x}", committed)
    base = chance.choice([None, 0, 2**40 + 5])
    beside = {} if base is None else {"appliance_base": str(base)}
    first = (base or 0) + (0 if snapshot else 1)
    return Place({"sequence": f'[null,"{lsn}"]'}, beside, f"{first:016x}{lsn:016x}", committed)


def edit(sign: int, of: Row, place: Place, snapshot: bool) -> dict[str, Any]:
    at = microseconds(of["at"])
    columns = {name: of[name] for name in ("amount", "ok", "weight", "note", "seen")}
    if of["weight"] is not None:
        columns["weight"] = float(of["weight"])
    return {
        "sign": sign,
        "position": place.position,
        "known_at": at if snapshot else place.committed,
        "entity": f"{of['customer']}\u001f{of['place']}",
        "row_id": str(of["id"]),
        "event_time": at,
        "assumed": snapshot,
        "columns": columns,
        "channel": "",
    }


def envelope(op: str, before: Row | None, after: Row | None, place: Place, **source: Any) -> Row:
    origin = {"ts_us": place.committed, "snapshot": "false", "db": "d", **place.origin, **source}
    return {
        "op": op,
        "before": before,
        "after": after,
        "source": origin,
        "ts_ms": 1,
        "transaction": None,
    } | place.beside


def records(count: int, seed: int) -> Iterator[Record]:
    """A table's life: snapshot, inserts, updates, key moves, deletes, repetitions, and everything broken."""
    chance = random.Random(seed)
    live: dict[int, Row] = {}
    lsn, earlier = 1000, []
    for number in range(count):
        lsn += chance.randrange(1, 2**33)
        if number < 20:
            new = live[number] = row(chance, number)
            kind = chance.choice(["true", "first", "last", "incremental", "first_in_data_collection"])
            at = place(chance, lsn, snapshot=kind != "incremental")
            made = _ok(envelope("r", None, new, at, snapshot=kind), edit(1, new, at, True))
        else:
            made = _live(chance, number, live, place(chance, lsn, snapshot=False))
        earlier.append(made)
        yield made
        if chance.random() < 0.05:
            yield chance.choice(earlier)
        if chance.random() < 0.05:
            yield broken(chance, number, place(chance, lsn, snapshot=False))


def _ok(value: Row, *edits: dict[str, Any]) -> Record:
    return Record(json.dumps(value, ensure_ascii=False).encode(), edits)


def _live(chance: random.Random, number: int, live: dict[int, Row], at: Place) -> Record:
    kind = chance.choice("cccuumd") if live else "c"
    if kind == "c":
        new = live[number] = row(chance, number)
        return _ok(envelope("c", None, new, at), edit(1, new, at, False))
    target = chance.choice(list(live))
    old = live[target]
    if kind == "d":
        del live[target]
        return _ok(envelope("d", old, None, at), edit(-1, old, at, False))
    new = row(chance, target) if kind == "m" else {**old, "amount": "1.00"}
    live[target] = new
    return _ok(envelope("u", old, new, at), edit(-1, old, at, False), edit(1, new, at, False))


NOWHERE: list[Row] = [
    {},
    {"sequence": "[]"},
    {"sequence": '["7"]'},
    {"sequence": '["x","7"]'},
    {"sequence": "[null,null]"},
    {"sequence": '["7","99999999999999999999"]'},
    {"sequence": '["9999999999999999999","7"]'},
    {"sequence": '["7","7"', "file": "mariadb-bin.000001", "pos": 4, "row": 0},
    {"sequence": None, "file": "mariadb-bin", "pos": 4, "row": 0},
    {"sequence": None, "file": "mariadb-bin.000001", "pos": 0, "row": 0},
    {"sequence": None, "file": "mariadb-bin.000001", "pos": -42, "row": 0},
    {"sequence": None, "file": "mariadb-bin.000001", "pos": 4},
    {"sequence": None, "file": "mariadb-bin.1234567890", "pos": 4, "row": 0},
    {"sequence": None, "pos": 4, "row": 0},
]
"""What Debezium cannot have written, or no position can be made of."""


def broken(chance: random.Random, number: int, at: Place) -> Record:
    """One record that cannot be used, or only in part, and the code that says why."""
    good = row(chance, number)

    def dead(code: str, **changed: Any) -> Record:
        return Record(json.dumps(envelope("c", None, {**good, **changed}, at)).encode(), (), (code,))

    def without(column: str) -> Record:
        left = {name: value for name, value in good.items() if name != column}
        return Record(json.dumps(envelope("c", None, left, at)).encode(), (), ("change.no_column",))

    after = edit(1, good, at, False)
    nowhere = {"ts_us": 1, "snapshot": "false", **chance.choice(NOWHERE)}
    no_position = {**envelope("c", None, good, at), "source": nowhere}
    no_time = {**envelope("c", None, good, at, ts_us=None)}
    return chance.choice(
        [
            Record(None),
            Record(b"no json", (), ("record.not_json",)),
            Record(b"\xff\xfe{", (), ("record.not_json",)),
            Record(b"[1, 2]", (), ("record.not_json",)),
            Record(b'"c"', (), ("record.not_json",)),
            Record(b"", (), ("record.not_json",)),
            Record(b"{}", (), ("record.no_op",)),
            Record(json.dumps(envelope("t", None, None, at)).encode(), (), ()),
            Record(json.dumps(envelope("x", None, good, at)).encode(), (), ("change.unknown_op",)),
            Record(json.dumps(envelope("c", None, None, at)).encode(), (), ("change.no_after",)),
            Record(json.dumps(envelope("d", None, None, at)).encode(), (), ("change.no_before",)),
            Record(json.dumps(envelope("u", None, good, at)).encode(), (after,), ("change.no_before",)),
            Record(json.dumps(no_position).encode(), (), ("change.no_position",)),
            Record(json.dumps(no_time).encode(), (), ("change.no_commit_time",)),
            Record(b'{"op":"m","position":"12","channel":"x/0","source":{"ts_us":5}}', (), ("marker.invalid",)),
            Record(json.dumps(envelope("c", None, {**good, "unused": '"note":'}, at)).encode(), (after,)),
            without("note"),
            without("amount"),
            dead("change.null", customer=None),
            dead("change.null", at=None),
            dead("change.null", id=None),
            dead("change.type", id="seven"),
            dead("change.type", customer=1.5),
            dead("change.type", at="yesterday"),
            dead("change.type", at="2018-02-31T00:00:00+02:00"),
            dead("change.type", at="2018-13-01T00:00:00Z"),
            dead("change.type", amount="1,50"),
            dead("change.type", amount="NaN"),
            dead("change.type", weight="Infinity"),
            dead("change.type", ok="perhaps"),
            dead("change.type", seen="2018-04-01T00:00:31Z"),
        ]
    )
