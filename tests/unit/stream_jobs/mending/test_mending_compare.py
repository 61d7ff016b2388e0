"""After a mend the edit log counts exactly the rows that the table has: by brute force over random histories."""

from __future__ import annotations

import json
import random
import tempfile
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from appliance import position as positions
from appliance.names import Names
from appliance.records import Change, ChangeSource
from stream_jobs.lake import sink, state_at
from stream_jobs.lake.reading import connect
from stream_jobs.lake.records import Raw
from stream_jobs.mending import changes as made
from stream_jobs.mending import compare
from stream_jobs.plan import CapturedTable, Column, Plan

TABLE = CapturedTable(
    "bank", "public.payments", "main.cdc.bank.public.payments", ("id",),
    (Column("id", "int64"), Column("owner", "string"), Column("at", "timestamp_us"), Column("local", "timestamp_us"),
     Column("amount", "decimal", 2), Column("note", "string")),
    "at", True, ("local",),
)  # fmt: skip
NAMES = Names("main")
Row = dict[str, Any]
Kind = Literal["truncate", "lost", "resnapshot"]


class History:
    """A table, its captured records (some of them lost on the way), and what readers of edits count from these."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.rows, self.records, self.lsn = chance, {}, [], 1000
        self.rows: dict[int, Row]
        self.records: list[bytes]

    def row(self, key: int) -> Row:
        pick = self.chance.choice
        return {
            "id": key, "owner": pick(["ann", "bob"]), "at": f"2018-04-01T00:00:0{pick('12')}.500000Z",
            "local": pick([None, 1_500_000]), "amount": pick(["1.50", "0.00"]), "note": pick([None, "x"]),
        }  # fmt: skip

    def capture(self, op: str, before: Row | None, after: Row | None, snapshot: str = "false") -> str:
        self.lsn += 8
        source = {"sequence": f'["{self.lsn}","{self.lsn}"]', "ts_us": self.lsn, "snapshot": snapshot}
        self.records.append(json.dumps({"op": op, "before": before, "after": after, "source": source}).encode())
        return self.position

    @property
    def position(self) -> str:
        return positions.of(ChangeSource(sequence=f'["{self.lsn}","{self.lsn}"]'))

    def step(self, *, captured: bool) -> None:
        key = self.chance.randrange(1, 6)
        old = self.rows.get(key)
        if old is not None and self.chance.random() < 0.4:
            op, before, after = "d", self.rows.pop(key), None
        else:
            new = self.rows[key] = self.row(key)
            op, before, after = ("u" if old else "c"), old, new
        if captured:
            self.capture(op, before, after)

    def snapshot(self) -> None:
        """Every row, all at one position."""
        self.lsn += 8
        for row in self.rows.values():
            self.lsn -= 8
            self.capture("r", None, row, "true")

    def counted(self) -> dict[str, dict[int, Row]]:
        """Owner → row id → row: each owner's log folded on its own, at one position + after -."""
        edits = []
        for value in self.records:
            change = json.loads(value)
            at = positions.of(ChangeSource(sequence=change["source"]["sequence"]))
            for sign, image in ((-1, change["before"]), (1, change["after"])):
                if image is not None:
                    edits.append((image["owner"], image["id"], at, sign, image))
        logs: dict[str, dict[int, Row]] = {"ann": {}, "bob": {}}
        for owner, key, _, sign, image in sorted(edits, key=lambda edit: edit[:4]):
            logs[owner].pop(key, None)
            if sign > 0:
                logs[owner][key] = image
        return logs

    def true(self) -> dict[str, dict[int, Row]]:
        return {owner: {k: r for k, r in self.rows.items() if r["owner"] == owner} for owner in ("ann", "bob")}


def _fill(history: History, lake: Path) -> Path:
    """Bring the lake up to the history; its change table."""
    into = sink.of_table(TABLE, Plan("test", (TABLE,), (), ()), NAMES, lake)
    start = -1 if (reached := into.reached(0)) is None else reached
    assert into.add([Raw(TABLE.topic, 0, n, value) for n, value in enumerate(history.records) if n > start]) == []
    into.flush()
    return lake / NAMES.lake_changes("bank", TABLE.table)


def _mend(history: History, lake: Path, kind: Kind, at: str, before: str) -> int:
    """What ``mender`` does; the number of records made."""
    changes = _fill(history, lake)
    encoder = made.Encoder(TABLE, at, 77, "m1", binlog=False)
    width = len(TABLE.columns)
    with connect(lake / "scratch") as connection:
        if kind == "truncate":
            expected = compare.expected_after_truncate(TABLE)
        elif kind == "lost":
            expected = compare.expected_in_snapshot(TABLE, changes, at)
        else:
            expected = compare.expected_since(TABLE, state_at.live(connection, TABLE, changes, at), before)
        strays = connection.execute(compare.wire(TABLE, compare.stray(TABLE, changes, at, expected))).fetchall()
    for row in strays:
        _, value = encoder.record(row[:width], row[width:-1] if row[-1] else None)
        history.records.append(value)
    return len(strays)


@pytest.mark.parametrize("kind", ["truncate", "lost", "resnapshot"])
@pytest.mark.parametrize("seed", range(8))
def test_after_it_readers_count_what_the_table_has(kind: Kind, seed: int) -> None:
    history = History(random.Random(f"{kind} {seed}"))
    for _ in range(10):
        history.step(captured=True)
    before = history.position
    if kind == "truncate":
        history.rows.clear()
        at = history.capture("t", None, None)
    else:
        for _ in range(6):
            history.step(captured=False)
    if kind == "lost":
        history.snapshot()
        at = history.position
    if kind == "resnapshot":
        for key in list(history.rows):
            if key in history.rows:
                history.capture("r", None, history.rows[key], "incremental")
                history.step(captured=True)
        at = made.above(history.position, binlog=False)
    for _ in range(3):
        history.step(captured=True)
    with tempfile.TemporaryDirectory() as folder:
        _mend(history, Path(folder), kind, at, before)
        assert history.counted() == history.true()
        assert _mend(history, Path(folder), kind, at, before) == 0, "killed after it had written, it does nothing again"


def test_a_made_change_stands_where_it_should_and_says_who_made_it() -> None:
    for binlog, position in ((False, f"{5:016x}{9:016x}"), (True, f"{3:08x}{1234:016x}{2:08x}")):
        key, value = made.Encoder(TABLE, position, 77, "m1", binlog=binlog).record(
            [1, "ann", "2018-04-01T00:00:01.500000Z", None, "1.50", None], None
        )
        change = msgspec.json.decode(value, type=Change)
        assert (key, change.op, change.after) == (b'{"id":1}', "d", None)
        assert positions.of(change.source) == position
        assert (change.source.made_by, change.source.made_for, change.source.ts_us) == ("mender", "m1", 77)
        assert change.source.snapshot == "false"
        above = made.above(position, binlog=binlog)
        assert position < above and positions.of(made.place(above, binlog=binlog)) == above
