"""Housekeeping never takes what the newest version, a late reader or a registered model needs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable

from appliance.names import Names
from stream_jobs.lake import delta, maintenance, schema, sink
from stream_jobs.lake.reading import scan
from stream_jobs.plan import Plan
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

NAMES = Names("main")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A change table with 250 rows in 250 commits."""
    into = sink.of_table(TABLE, Plan("test", (TABLE,), (), ()), NAMES, tmp_path)
    for offset in range(250):
        into.add([change("c", offset, row(offset))])
        into.flush()
    return tmp_path / NAMES.lake_changes("bank", TABLE.table)


def _rows(path: Path, version: int | None = None) -> int:
    return int(duckdb.sql(f"SELECT count(*) FROM {scan(path, schema.changes(TABLE), version)}").fetchall()[0][0])


def _age(path: Path, days: float) -> None:
    """Make everything in the table look that old."""
    then = time.time() - days * 86_400
    for file in path.rglob("*"):
        os.utime(file, (then, then))


def test_small_files_are_joined_once(path: Path) -> None:
    assert maintenance.compact(path)
    assert not maintenance.compact(path)
    assert len(delta.active_files(delta.open_table(path))) == 1
    assert _rows(path) == 250


def test_files_of_late_readers_and_of_named_versions_stay(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maintenance.compact(path)
    assert maintenance.vacuum(path, set()) == 0, "left the table just now: a reader may still hold them"
    monkeypatch.setattr(maintenance, "RETENTION_DAYS", 0)
    assert maintenance.vacuum(path, {100}) == 250 - 100
    assert (_rows(path), _rows(path, 100)) == (250, 100)
    assert maintenance.vacuum(path, set()) == 100
    assert _rows(path) == 250


def test_old_log_entries_go_but_a_named_version_can_be_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert maintenance.trim_log(path, set()) == 0, "a short log stays whole"
    monkeypatch.setattr(maintenance, "_LOG_ENTRIES", 10)
    assert maintenance.trim_log(path, set()) == 0, "a young log stays whole"
    _age(path, maintenance.RETENTION_DAYS + 1)
    assert maintenance.trim_log(path, {150}) > 0
    table = DeltaTable(str(path), version=150)
    assert table.version() == 150 and _rows(path, 150) == 150
    assert _rows(path) == 250
    assert delta.reached(delta.open_table(path)) == {f"{TABLE.topic}/0": 249}


def test_versions_are_those_that_models_name(tmp_path: Path) -> None:
    for number, version in ((1, 7), (2, 9)):
        card = tmp_path / "models" / "card_fraud" / str(number) / "model.json"
        card.parent.mkdir(parents=True)
        card.write_text(json.dumps({"frame": {"lake_versions": {"main/changes/bank.public.accounts": version}}}))
    found = maintenance.named_versions(tmp_path / "models", tmp_path)
    assert found == {tmp_path / "main/changes/bank.public.accounts": {7, 9}}
