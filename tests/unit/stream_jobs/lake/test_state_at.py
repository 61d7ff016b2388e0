"""The state at any position is a copy of the source table kept at that moment, with and without the derived state."""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance import context as contexts
from appliance import position as positions
from appliance.errors import ApplianceError, UsageError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import ChangeSource
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs import plan as plans
from stream_jobs.errors import LakeError
from stream_jobs.lake import commands, reach, sink, state, state_at
from stream_jobs.lake.reading import connect
from stream_jobs.lake.records import Raw
from stream_jobs.plan import Plan
from tests.unit.stream_jobs.lake.changes import COMMITTED_US, TABLE, change, row

NAMES = Names("main")
PLAN = Plan("test", (TABLE,), (), ())
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "move", "delete", "truncate", "repeat", "refresh"]), st.integers(1, 4)
    ),
    max_size=16,
)


def _position(offset: int) -> str:
    return positions.of(ChangeSource(sequence=f'["{1000 + offset}","{2000 + offset}"]'))


@settings(max_examples=25, deadline=None)
@given(snapshot=st.sets(st.integers(1, 4)), steps=_STEPS)
def test_it_is_a_copy_of_the_table_kept_then(snapshot: set[int], steps: list[tuple[str, int]]) -> None:
    """move: the row changes its primary key, which Debezium sends as a delete and an insert."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder)
        changes, current = lake / NAMES.lake_changes("bank", TABLE.table), lake / NAMES.lake_state("bank", TABLE.table)
        into = sink.of_table(TABLE, PLAN, NAMES, lake)
        rows = {key: f"snapshot {key}" for key in snapshot}
        records = [change("r", n, row(key, name=rows[key])) for n, key in enumerate(sorted(snapshot))]
        copies: list[tuple[str, dict[int, str]]] = [(_position(len(records) - 1), dict(rows))] if records else []
        with connect(lake / "scratch") as connection:
            for number, (what, key) in enumerate(steps):
                offset = len(records)
                if what == "put":
                    op = "u" if key in rows else "c"
                    rows[key] = f"row {number}"
                    records.append(change(op, offset, row(key, name=rows[key])))
                elif what == "delete" and key in rows:
                    records.append(change("d", offset, None, row(key, name=rows.pop(key))))
                elif what == "move" and key in rows and (free := next((n for n in range(5, 9) if n not in rows), 0)):
                    rows[free] = rows.pop(key)
                    records.append(change("d", offset, None, row(key, name=rows[free])))
                    records.append(change("c", offset + 1, row(free, name=rows[free])))
                elif what == "truncate":
                    rows.clear()
                    records.append(change("t", offset))
                elif what == "repeat" and records:
                    records.append(Raw(TABLE.topic, 0, offset, records[-1].value))
                    continue
                elif what == "refresh":
                    _flush(into, records)
                    state.refresh(connection, TABLE, changes, current)
                    continue
                else:
                    continue
                copies.append((_position(len(records) - 1), dict(rows)))
            _flush(into, records)
            for position, copy in copies:
                for derived in (None, current):
                    found = state_at.live(connection, TABLE, changes, position, derived)
                    told = connection.execute(f"SELECT id, name FROM {found} ORDER BY id").fetchall()
                    assert told == sorted(copy.items())


def _flush(into: sink.Sink, records: list[Raw]) -> None:
    reached = into.reached(0)
    into.add(records[0 if reached is None else reached + 1 :])
    into.flush()


def _marker(offset: int, upto: int) -> Raw:
    value = {"op": "m", "source": {"ts_us": COMMITTED_US + upto}, "channel": "", "position": _position(upto)}
    return Raw(TABLE.topic, 0, offset, json.dumps(value).encode())


@pytest.fixture
def filled(tmp_path: Path) -> Context:
    """A lake with one row inserted, changed and (not yet marked) deleted."""
    installation = Installation("0", 40_000, "u", "main", "s", "c", {}, {})
    context = Context(Layout.below(tmp_path), installation, Settings(), Secrets(tmp_path / "etc" / "secrets"))
    into = sink.of_table(TABLE, PLAN, context.names, context.layout.lake)
    into.expect(0, 0)
    into.add([change("c", 0, row(7)), change("u", 1, row(7, name="ann")), _marker(2, 1)])
    into.add([change("d", 3, None, row(7, name="ann"))])
    into.say_reached()
    into.flush()
    into.say_reached()
    plans.write(PLAN, context.layout.plan_file)
    return context


def _ask(
    context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str
) -> dict[str, Any]:
    monkeypatch.setattr(contexts, "current", lambda: context)
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    parsed = parser.parse_args(["state", *words, "--json"])
    assert parsed.run(parsed) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def test_the_command_tells_the_row_as_it_was(
    filled: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = _ask(filled, monkeypatch, capsys, "accounts", "--at", _position(0), "--key", "7")
    assert first["rows"] == [
        {"position": _position(0), "known_at": "2025-11-23T12:13:20Z", "assumed": False, "id": 7,
         "opened": "2018-04-01T00:00:31.500000Z", "balance": "10.25", "name": "zoë", "closed": None, "rate": 0.5}
    ]  # fmt: skip
    latest = _ask(filled, monkeypatch, capsys, "public.accounts", "--source", "bank")
    assert (latest["position"], latest["rows"][0]["name"]) == (_position(1), "ann")
    assert latest["known_at"] == "2025-11-23T12:13:20.000001Z"
    timed = _ask(filled, monkeypatch, capsys, "accounts", "--at", "2025-11-23T12:13:20Z")
    assert (timed["position"], timed["rows"][0]["name"]) == (_position(0), "zoë")
    assert _ask(filled, monkeypatch, capsys, "accounts", "--key", "8")["rows"] == []


@pytest.mark.parametrize(
    ("words", "kind", "code"),
    [
        (["accounts", "--at", _position(3)], LakeError, "lake.not_reached"),
        (["accounts", "--at", "2026-01-01"], LakeError, "lake.not_reached"),
        (["accounts", "--at", "2018-01-01"], LakeError, "lake.before_capture"),
        (["accounts", "--at", "0/16B3748"], UsageError, "lake.position"),
        (["accounts", "--at", _position(0).upper().replace("0", "O")], UsageError, "lake.position"),
        (["nothing"], UsageError, "lake.no_such_table"),
        (["accounts", "--source", "shop"], UsageError, "lake.no_such_table"),
        (["accounts", "--key", "seven"], UsageError, "lake.key"),
    ],
)
def test_what_cannot_be_told_is_an_error(
    filled: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: list[str], kind: type[ApplianceError], code: str,
) -> None:  # fmt: skip
    with pytest.raises(kind) as raised:
        _ask(filled, monkeypatch, capsys, *words)
    assert raised.value.code == code and raised.value.hint


def test_a_table_claims_only_what_it_holds(tmp_path: Path) -> None:
    into = sink.of_table(TABLE, PLAN, NAMES, tmp_path)
    path = tmp_path / NAMES.lake_changes("bank", TABLE.table)
    into.expect(0, 0)
    into.expect(1, 5)
    into.add([change("c", 0, row(7)), _marker(1, 0)])
    into.say_reached()
    assert reach.read(path) == reach.Reached(), "the row is not committed yet"
    into.flush()
    into.say_reached()
    assert reach.read(path) == reach.Reached(offsets={0: 2, 1: 5}), "partition 1 has said nothing yet"
    other = _marker(5, 8)
    into.add([Raw(other.topic, 1, 5, other.value)])
    into.say_reached()
    assert reach.read(path) == reach.Reached(_position(0), COMMITTED_US, {0: 2, 1: 6})
    again = sink.of_table(TABLE, PLAN, NAMES, tmp_path)
    again.expect(0, 1)
    again.expect(1, 5)
    again.add([_marker(1, 0)])
    again.say_reached()
    assert reach.read(path).position == _position(0), "a claim is never taken back"


def test_offsets_go_on_while_no_marker_comes(tmp_path: Path) -> None:
    """A mend holds the markers until the lake has passed its fences, also when the writer began again meanwhile."""
    path = tmp_path / NAMES.lake_changes("bank", TABLE.table)
    into = sink.of_table(TABLE, PLAN, NAMES, tmp_path)
    into.expect(0, 3)
    into.add([Raw(TABLE.topic, 0, 3, None)])
    into.say_reached()
    assert reach.read(path) == reach.Reached(offsets={0: 4})
