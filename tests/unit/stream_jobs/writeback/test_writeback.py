"""Where predictions may be written back to, what the administrator runs, and what many deliveries leave."""

from __future__ import annotations

import itertools
import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.records import Prediction
from appliance.secrets import Secrets
from appliance.settings import Settings
from stream_jobs.errors import SourceError, WritebackError
from stream_jobs.source import record as sources
from stream_jobs.source import service as source_service
from stream_jobs.source.record import Address, Source, Table
from stream_jobs.writeback import postgres, record, service, table
from stream_jobs.writeback.record import By, Target
from tests.unit.gateway.example import PLAN

_ADDRESS = Address("postgresql", "db.example", 5432, "shop", "appliance_writeback_orders")
_SHOP = Source("shop", Address("postgresql", "db.example", 5432, "shop"), (Table("public.orders", True),))


def _target(by: By = "event", name: str = "scores.predictions") -> Target:
    return Target("orders", _ADDRESS, name, by, 1)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path)
    found = Context(
        layout, Installation("0", 40_000, "u", "main", "s", "c", {}, {}), Settings(), Secrets(layout.secrets)
    )
    sources.write(found, _SHOP)
    return found


def test_the_table_stands_in_the_database_of_the_source_unless_another_is_named(context: Context) -> None:
    target = service.describe(context, PLAN, "orders", "scores.predictions", None, "event")
    assert (target.address, target.table, target.key, target.sample) == (
        _ADDRESS, "scores.predictions", "event_key", False
    )  # fmt: skip
    target = service.describe(context, PLAN, "orders", "public.p", "postgresql://writer@dwh.example/m", "prediction")
    assert target.address == Address("postgresql", "dwh.example", 5432, "m", "writer")
    assert target.key == "prediction_id"


@pytest.mark.parametrize("name", ["predictions", "a.b.c", ".b", "a."])
def test_what_is_no_table_is_refused(context: Context, name: str) -> None:
    with pytest.raises(UsageError, match="no table"):
        service.describe(context, PLAN, "orders", name, None, "event")


def test_a_captured_table_is_never_written_to_and_a_written_one_never_captured(context: Context) -> None:
    with pytest.raises(WritebackError, match="captured by source shop"):
        service.describe(context, PLAN, "orders", "public.orders", None, "event")
    with pytest.raises(WritebackError, match="the appliance's own"):
        service.describe(context, PLAN, "orders", "appliance_cdc.signal", None, "event")
    record.write(context, _target())
    with pytest.raises(SourceError, match="predictions of orders are written to"):
        source_service.add(
            context, Source("shop2", _SHOP.address, (Table("scores.predictions", True),)), lambda text: None
        )


def test_other_databases_are_refused(context: Context) -> None:
    with pytest.raises(UsageError, match="PostgreSQL only"):
        service.describe(context, PLAN, "orders", "scores.p", "mariadb://h/shop", "event")


def test_the_administrator_sees_all_that_is_touched_and_no_password() -> None:
    text = postgres.script(_target(), "bigint", "hunter2")
    assert "hunter2" not in text and "SCRAM-SHA-256$4096:" in text
    assert 'CREATE TABLE "scores"."predictions" (event_key bigint PRIMARY KEY, prediction_id uuid NOT NULL' in text
    assert 'GRANT SELECT, INSERT, UPDATE ON TABLE "scores"."predictions" TO "appliance_writeback_orders"' in text
    assert text.index("CREATE SCHEMA IF NOT EXISTS") < text.index("CREATE TABLE") < text.index("COMMIT;")
    assert "CREATE SCHEMA" not in postgres.script(_target(name="public.predictions"), "bigint", "x")
    assert postgres.undo(_target()) == [
        'REVOKE USAGE ON SCHEMA "scores" FROM "appliance_writeback_orders"',
        'DROP TABLE IF EXISTS "scores"."predictions"',
        'REVOKE CONNECT ON DATABASE "shop" FROM "appliance_writeback_orders"',
        'DROP ROLE IF EXISTS "appliance_writeback_orders"',
    ]


def test_role_names_fit_postgresql() -> None:
    assert record.role("card_fraud") == "appliance_writeback_card_fraud"
    assert len(record.role("s" * 80)) == 63


def test_targets_are_kept_and_a_change_is_seen(context: Context) -> None:
    before = record.changed(context)
    record.write(context, _target())
    assert record.registered(context, "orders") == _target() and record.changed(context) != before
    record.forget(context, "orders")
    assert record.changed(context) == before
    with pytest.raises(WritebackError, match="not written back"):
        record.registered(context, "orders")


def test_a_row_of_a_prediction() -> None:
    now = 1_800_000_000_000_001
    prediction = Prediction(
        str(uuid.UUID(int=7)), "main", "orders", "cdc", "42", "0" * 32, "", "", now, {}, {}, {}, {}, False, 0.75,
        "review", "why", "kind", "orders", "3", "h", 0, now, {},
    )  # fmt: skip
    assert dict(zip(table.COLUMNS, table.row(prediction), strict=True)) == {
        "event_key": "42", "prediction_id": str(uuid.UUID(int=7)), "way": "cdc",
        "as_of": datetime(2027, 1, 15, 8, 0, 0, 1, tzinfo=UTC), "score": 0.75, "decision": "review", "reason": "why",
        "kind": "kind", "model": "orders", "model_version": "3",
        "scored_at": datetime(2027, 1, 15, 8, 0, 0, 1, tzinfo=UTC),
    }  # fmt: skip


def _written(by: By, deliveries: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What the statement makes of the deliveries; SQLite knows this part of PostgreSQL's language too."""
    with sqlite3.connect(":memory:") as connection:
        connection.execute("ATTACH ':memory:' AS scores")
        columns = ", ".join(f"{name}{' PRIMARY KEY' if name == _target(by).key else ''}" for name in table.COLUMNS)
        connection.execute(f"CREATE TABLE scores.predictions ({columns})")
        statement = table.statement(_target(by)).as_string(None).replace("%s", "?")
        connection.executemany(statement, deliveries)
        return sorted(connection.execute("SELECT * FROM scores.predictions").fetchall())


def _row(number: int, event: int, second: int) -> tuple[Any, ...]:
    at = (datetime(2027, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).isoformat()
    return (str(event), str(uuid.UUID(int=number)), "cdc", at, second / 10, "approve", "", "", "orders", "1", at)


_PREDICTIONS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=12)


@given(_PREDICTIONS, st.data())
def test_however_often_and_in_whatever_order_predictions_come_one_row_a_key_is_left(
    made: list[tuple[int, int]], data: st.DataObject
) -> None:
    rows = [_row(number, event, second) for number, (event, second) in enumerate(made)]
    deliveries = rows + data.draw(st.lists(st.sampled_from(rows), max_size=12))
    shuffled = data.draw(st.permutations(deliveries))
    newest = {}
    for row in sorted(rows, key=lambda each: (each[10], each[1])):
        newest[row[0]] = row
    assert _written("event", shuffled) == sorted(newest.values())
    assert _written("prediction", shuffled) == sorted(rows)


@given(_PREDICTIONS, st.integers(0, 12), st.integers(0, 12))
def test_a_writer_killed_anywhere_repeats_what_it_had_not_committed(
    made: list[tuple[int, int]], committed: int, written: int
) -> None:
    """It writes ``written`` rows, its offsets say ``committed`` of them, and begins again there."""
    rows = [_row(number, event, second) for number, (event, second) in enumerate(made)]
    written = min(written, len(rows))
    again = [*rows[:written], *rows[min(committed, written) :]]
    for by in ("event", "prediction"):
        assert _written(by, again) == _written(by, list(itertools.chain(rows)))  # type: ignore[arg-type]
