"""A mend holds from the moment it is written until it is finished; what it asks of the connector can be asked twice."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs.lake import reach, state_at
from stream_jobs.mending import lake, mends, resnapshot
from stream_jobs.mending.mends import Held, Mend
from stream_jobs.source.record import Address, Source
from tests.unit.stream_jobs.mending.test_mending_compare import TABLE

POSITION = f"{5:032x}"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    installation = Installation("0", 40_000, "u", "main", "s", "c", {}, {})
    return Context(Layout.below(tmp_path), installation, Settings(), Secrets(tmp_path / "secrets"))


def _mend(name: str, at: int, **other: object) -> Mend:
    mend = Mend(name, "bank", "truncate", "t was truncated", at, ("public.t",), "delete", True, POSITION)
    return msgspec.structs.replace(mend, **other)


def test_it_is_open_until_finished_and_known_after(context: Context) -> None:
    mends.write(context, _mend("b", 2))
    mends.write(context, _mend("a", 1))
    mends.write(context, _mend("a", 1, note="half"))
    assert [(each.id, each.note) for each in mends.unfinished(context)] == [("a", "half"), ("b", "")]
    mends.finish(context, _mend("a", 1, written={"public.t": 3}))
    assert [each.id for each in mends.unfinished(context)] == ["b"]
    assert [each.written for each in mends.finished(context)] == [{"public.t": 3}]
    assert mends.known(context, "a") and mends.known(context, "b") and not mends.known(context, "c")
    assert mends.held(context, "bank") is None
    mends.hold(context, "bank", Held(("b",), POSITION, 7))
    assert mends.held(context, "bank") == Held(("b",), POSITION, 7)


def test_a_truncate_holds_from_its_position_on_and_a_lost_log_everything() -> None:
    assert _mend("a", 1).limit == POSITION
    assert _mend("a", 1, kind="lost").limit == "" == _mend("a", 1, kind="resnapshot").limit


def test_the_lake_has_passed_a_fence_when_every_partition_has(context: Context) -> None:
    fences = {TABLE.topic: {0: 4, 1: 9}}
    path = state_at.changes_path(context, TABLE)
    path.mkdir(parents=True)
    assert not lake.passed(context, [TABLE], fences)
    reach.write(path, reach.Reached(POSITION, 1, {0: 5, 1: 9}))
    assert not lake.passed(context, [TABLE], fences), "offset 9 itself is not read yet"
    reach.write(path, reach.Reached(POSITION, 1, {0: 5, 1: 10}))
    assert lake.passed(context, [TABLE], fences)


@pytest.mark.parametrize(("kind", "again"), [("postgresql", "ON CONFLICT"), ("mariadb", "INSERT IGNORE")])
def test_a_snapshot_is_asked_for_once_however_often_it_is_said(kind: str, again: str) -> None:
    source = Source("bank", msgspec.convert({"kind": kind, "host": "h", "port": 1, "database": "d"}, Address), ())
    asked = resnapshot.statement(_mend("resnapshot-1", 1, tables=("public.o'clock",)), source)
    assert again in asked and "'resnapshot-1'" in asked and "o'clock" not in asked, "a quote is doubled or escaped"
