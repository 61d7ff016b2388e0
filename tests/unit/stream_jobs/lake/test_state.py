"""The state table after any run of changes, refreshed at any moments, is the source table itself."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.names import Names
from stream_jobs.lake import schema, sink, state
from stream_jobs.lake.reading import connect, scan
from stream_jobs.lake.records import Raw
from stream_jobs.plan import Plan
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

NAMES = Names("main")
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "put", "put", "delete", "truncate", "repeat", "refresh"]), st.integers(1, 4)
    ),
    max_size=14,
)


def _refresh(lake: Path) -> None:
    changes, current = (
        lake / name for name in (NAMES.lake_changes("bank", TABLE.table), NAMES.lake_state("bank", TABLE.table))
    )
    with connect(lake / "scratch") as connection:
        state.refresh(connection, TABLE, changes, current)


def _stored(lake: Path) -> list[Any]:
    table = scan(lake / NAMES.lake_state("bank", TABLE.table), schema.state(TABLE))
    with connect(lake / "scratch") as connection:
        return connection.execute(f"SELECT id, name FROM {table} ORDER BY id").fetchall()


@settings(max_examples=20, deadline=None)
@given(snapshot=st.sets(st.integers(1, 4)), steps=_STEPS)
def test_state_is_the_source_table(snapshot: set[int], steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder)
        into = sink.of_table(TABLE, Plan("test", (TABLE,), (), ()), NAMES, lake)
        rows = {key: f"snapshot {key}" for key in snapshot}
        records = [change("r", n, row(key, name=rows[key])) for n, key in enumerate(sorted(snapshot))]
        for number, (what, key) in enumerate(steps, start=len(records)):
            offset = len(records)
            if what == "put":
                op = "u" if key in rows else "c"
                rows[key] = f"row {number}"
                records.append(change(op, offset, row(key, name=rows[key])))
            elif what == "delete" and key in rows:
                records.append(change("d", offset, None, row(key, name=rows.pop(key))))
            elif what == "truncate":
                rows.clear()
                records.append(change("t", offset))
            elif what == "repeat" and records:
                records.append(Raw(TABLE.topic, 0, offset, records[-1].value))
            elif what == "refresh":
                _flush(into, records)
                _refresh(lake)
        _flush(into, records)
        _refresh(lake)
        assert _stored(lake) == sorted(rows.items())


def _flush(into: sink.Sink, records: list[Raw]) -> None:
    reached = into.reached(0)
    into.add(records[0 if reached is None else reached + 1 :])
    into.flush()
