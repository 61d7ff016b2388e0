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


def edit(sign: int, of: Row, lsns: tuple[int | None, int], committed: int, snapshot: bool) -> dict[str, Any]:
    at = microseconds(of["at"])
    columns = {name: of[name] for name in ("amount", "ok", "weight", "note", "seen")}
    if of["weight"] is not None:
        columns["weight"] = float(of["weight"])
    return {
        "sign": sign,
        "position": f"{lsns[0] or 0:016x}{lsns[1]:016x}",
        "known_at": at if snapshot else committed,
        "entity": f"{of['customer']}\u001f{of['place']}",
        "row_id": str(of["id"]),
        "event_time": at,
        "assumed": snapshot,
        "columns": columns,
        "channel": "",
    }


def envelope(op: str, before: Row | None, after: Row | None, lsns: tuple[int | None, int], **source: Any) -> Row:
    sequence = json.dumps([None if lsns[0] is None else str(lsns[0]), str(lsns[1])])
    origin = {"sequence": sequence, "ts_us": lsns[1] * 1000, "snapshot": "false", "db": "d", **source}
    return {"op": op, "before": before, "after": after, "source": origin, "ts_ms": 1, "transaction": None}


def records(count: int, seed: int) -> Iterator[Record]:
    """A table's life: snapshot, inserts, updates, key moves, deletes, repetitions, and everything broken."""
    chance = random.Random(seed)
    live: dict[int, Row] = {}
    lsn, earlier = 1000, []
    for number in range(count):
        lsn += chance.randrange(1, 2**33)
        lsns = (lsn - 1 if number >= 20 else None, lsn)
        if number < 20:
            new = live[number] = row(chance, number)
            kind = chance.choice(["true", "first", "last", "incremental", "first_in_data_collection"])
            made = _ok(envelope("r", None, new, lsns, snapshot=kind), edit(1, new, lsns, lsn * 1000, True))
        else:
            made = _live(chance, number, live, lsns)
        earlier.append(made)
        yield made
        if chance.random() < 0.05:
            yield chance.choice(earlier)
        if chance.random() < 0.05:
            yield broken(chance, number, lsns)


def _ok(value: Row, *edits: dict[str, Any]) -> Record:
    return Record(json.dumps(value, ensure_ascii=False).encode(), edits)


def _live(chance: random.Random, number: int, live: dict[int, Row], lsns: tuple[int | None, int]) -> Record:
    kind = chance.choice("cccuumd") if live else "c"
    committed = lsns[1] * 1000
    if kind == "c":
        new = live[number] = row(chance, number)
        return _ok(envelope("c", None, new, lsns), edit(1, new, lsns, committed, False))
    target = chance.choice(list(live))
    old = live[target]
    if kind == "d":
        del live[target]
        return _ok(envelope("d", old, None, lsns), edit(-1, old, lsns, committed, False))
    new = row(chance, target) if kind == "m" else {**old, "amount": "1.00"}
    live[target] = new
    pair = (edit(-1, old, lsns, committed, False), edit(1, new, lsns, committed, False))
    return _ok(envelope("u", old, new, lsns), *pair)


def broken(chance: random.Random, number: int, lsns: tuple[int | None, int]) -> Record:
    """One record that cannot be used, or only in part, and the code that says why."""
    good = row(chance, number)

    def dead(code: str, **changed: Any) -> Record:
        return Record(json.dumps(envelope("c", None, {**good, **changed}, lsns)).encode(), (), (code,))

    after = edit(1, good, lsns, lsns[1] * 1000, False)
    no_position = {**envelope("c", None, good, lsns), "source": {"sequence": "[]", "ts_us": 1, "snapshot": "false"}}
    no_time = {**envelope("c", None, good, lsns, ts_us=None)}
    return chance.choice(
        [
            Record(None),
            Record(b"no json", (), ("record.not_json",)),
            Record(b"\xff\xfe{", (), ("record.not_json",)),
            Record(b"[1, 2]", (), ("record.not_json",)),
            Record(b'"c"', (), ("record.not_json",)),
            Record(b"", (), ("record.not_json",)),
            Record(b"{}", (), ("record.no_op",)),
            Record(json.dumps(envelope("t", None, None, lsns)).encode(), (), ("change.truncate",)),
            Record(json.dumps(envelope("x", None, good, lsns)).encode(), (), ("change.unknown_op",)),
            Record(json.dumps(envelope("c", None, None, lsns)).encode(), (), ("change.no_after",)),
            Record(json.dumps(envelope("d", None, None, lsns)).encode(), (), ("change.no_before",)),
            Record(json.dumps(envelope("u", None, good, lsns)).encode(), (after,), ("change.no_before",)),
            Record(json.dumps(no_position).encode(), (), ("change.no_position",)),
            Record(json.dumps(no_time).encode(), (), ("change.no_commit_time",)),
            Record(b'{"op":"m","position":"12","channel":"x/0","source":{"ts_us":5}}', (), ("marker.invalid",)),
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
