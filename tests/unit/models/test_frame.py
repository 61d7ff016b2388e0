"""The training set, from change tables in a lake of its own."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from models import events, frame, pipeline
from models.errors import RecipeError, TrainingSetError
from models.split import DAY_US, Split
from stream_jobs.lake import delta, schema
from stream_jobs.plan import CapturedTable, Column, Plan, Policy, Service

_PAYMENTS = (
    Column("transaction_id", "int64"), Column("tx_datetime", "timestamp_us"), Column("customer_id", "int64"),
    Column("terminal_id", "int64"), Column("tx_amount", "decimal", 2),
)  # fmt: skip
_LABELS = (
    Column("transaction_id", "int64"), Column("terminal_id", "int64"), Column("is_fraud", "int64"),
    Column("labelled_at", "timestamp_us"),
)  # fmt: skip
_D = DAY_US
_SPLIT = Split(0, 2 * _D, 4 * _D, 6 * _D, 8 * _D)


def _table(name: str, columns: tuple[Column, ...], event_time: str) -> CapturedTable:
    return CapturedTable("bank", f"public.{name}", f"t.{name}", ("transaction_id",), columns, event_time, False)


PAYMENTS = _table("transactions", _PAYMENTS, "tx_datetime")
LABELS = _table("transaction_labels", _LABELS, "labelled_at")
SERVICE = Service(
    "card_fraud", "bank", "public.transactions", "t", "transaction_id", "tx_datetime", _PAYMENTS, (), (), (),
    ("request:amount", "request:night"), "card_fraud", Policy(0.5, 0.9, 10, "m:f"), "hash",
)  # fmt: skip
PLAN = Plan("card_fraud", (PAYMENTS, LABELS), (), (SERVICE,))
RECIPE = pipeline.read_recipe("card_fraud")


@pytest.fixture
def context(tmp_path: Path) -> Context:
    installation = Installation("0", 1, "nobody", "main", "card_fraud", "", {}, {})
    return Context(Layout.below(tmp_path), installation, Settings(), Secrets(tmp_path / "secrets"))


def _write(context: Context, table: CapturedTable, changes: list[tuple[str, int, dict[str, Any]]]) -> None:
    """changes: op, position, row (the before image for d, else the after image)."""
    columns = schema.changes(table)
    rows = []
    for op, position, row in changes:
        image = "before" if op == "d" else "after"
        filled = {f"{image}_{name}": value for name, value in row.items()}
        rows.append(
            {
                "op": op, "position": f"{position:032x}", "known_at": 0, "assumed": op == "r", "partition": 0,
                "offset": position, "commit_date": datetime.date(1970, 1, 1), **filled,
            }
        )  # fmt: skip
    arrays = [pa.array([row.get(field.name) for row in rows]).cast(field.type) for field in columns]
    path = context.layout.lake / context.names.lake_changes(table.source, table.table)
    delta.append(
        delta.create(path, columns, schema.PARTITION),
        pa.table(arrays, schema=columns).to_batches(), columns, {"t/0": len(rows)},
    )  # fmt: skip


def _payment(number: int, time: int, customer: int = 1, amount: str = "1.00") -> dict[str, Any]:
    return {
        "transaction_id": number, "tx_datetime": time, "customer_id": customer, "terminal_id": 1, "tx_amount": amount,
    }  # fmt: skip


def _label(number: int, fraud: int, at: int) -> dict[str, Any]:
    return {"transaction_id": number, "terminal_id": 1, "is_fraud": fraud, "labelled_at": at}


def _labelled(context: Context, tmp_path: Path) -> pa.Table:
    return events.labelled(context, PLAN, SERVICE, RECIPE, (0, 8 * _D), tmp_path / "scratch")


def test_events_are_as_first_seen_with_the_answer_now_known(context: Context, tmp_path: Path) -> None:
    first, second = _payment(1, 10, amount="5.00"), _payment(1, 10, amount="6.00")
    _write(context, PAYMENTS, [("r", 1, first), ("u", 5, second), ("c", 6, _payment(2, 9)), ("c", 7, _payment(3, 99))])
    _write(
        context, LABELS,
        [
            ("c", 2, _label(1, 0, 20)), ("u", 3, _label(1, 1, 30)),
            ("c", 4, _label(2, 1, 40)), ("d", 8, _label(2, 1, 40)),
        ],
    )  # fmt: skip
    rows = _labelled(context, tmp_path).to_pylist()
    assert [(row["event_key"], row["label"], row["label_known_at"]) for row in rows] == [
        ("2", None, 0), ("1", 1, 30), ("3", None, 0),
    ]  # fmt: skip
    assert str(rows[1]["tx_amount"]) == "5.00"
    assert rows[1]["position"] == f"{1:032x}"


def _history(context: Context) -> None:
    """A payment every 6 hours, every fourth a fraud, each answered a day later; customers 0 … 31."""
    times = [hour * 3_600_000_000 for hour in range(0, 8 * 24, 6)]
    _write(context, PAYMENTS, [("r", 1, _payment(i, at, customer=i)) for i, at in enumerate(times)])
    _write(context, LABELS, [("r", 1, _label(i, int(i % 4 == 0), at + _D)) for i, at in enumerate(times)])


def _features(_: Context, __: Service, rows: pa.Table) -> list[pa.RecordBatch]:
    amount = pa.array([None, *range(1, rows.num_rows)], pa.int64())
    return pa.table({"night": pa.array(range(rows.num_rows)), "amount": amount}).to_batches(max_chunksize=5)


def test_the_frame_has_the_inputs_in_the_models_order_and_the_parts(context: Context, tmp_path: Path) -> None:
    _history(context)
    rows = _labelled(context, tmp_path)
    described = frame.build(context, SERVICE, RECIPE, _SPLIT, rows, _features, tmp_path / "frame.parquet")
    assert described.rows == {"fit": 8, "tail": 8, "test": 8}
    assert described.positives == {"fit": 2, "tail": 2, "test": 2}
    written = parquet.read_table(tmp_path / "frame.parquet")
    assert written.column_names[:2] == ["amount", "night"]
    assert written["amount"].type == pa.float32()
    assert np.isnan(written["amount"][0].as_py())
    assert written["event_key"].to_pylist()[:2] == ["0", "1"]


def test_a_feature_that_is_missing_is_named(context: Context, tmp_path: Path) -> None:
    _history(context)
    rows = _labelled(context, tmp_path)
    with pytest.raises(TrainingSetError, match="night"):
        frame.build(
            context, SERVICE, RECIPE, _SPLIT, rows,
            lambda *asked: [batch.select(["amount"]) for batch in _features(*asked)], tmp_path / "f",
        )  # fmt: skip


@pytest.mark.parametrize("batches", [slice(1), slice(0)])
def test_rows_without_features_are_counted(context: Context, tmp_path: Path, batches: slice) -> None:
    _history(context)
    rows = _labelled(context, tmp_path)
    with pytest.raises(TrainingSetError, match="rows for 24 events"):
        frame.build(
            context, SERVICE, RECIPE, _SPLIT, rows, lambda *asked: _features(*asked)[batches], tmp_path / "f"
        )  # fmt: skip


def test_the_lakes_versions_and_positions_are_known(context: Context, tmp_path: Path) -> None:
    _history(context)
    versions, positions = events.lake_versions(context, (PAYMENTS, LABELS), tmp_path / "scratch")
    assert set(versions) == set(positions) == {
        "main/changes/bank.public.transactions", "main/changes/bank.public.transaction_labels",
    }  # fmt: skip
    assert set(positions.values()) == {f"{1:032x}"}


def test_a_period_without_answers_is_named(context: Context, tmp_path: Path) -> None:
    _history(context)
    late = Split(0, 2 * _D, 4 * _D, 8 * _D, 10 * _D)
    with pytest.raises(TrainingSetError, match="the test period 1970-01-09T00:00"):
        frame.build(context, SERVICE, RECIPE, late, _labelled(context, tmp_path), _features, tmp_path / "f")


def test_a_table_that_is_not_captured_is_named() -> None:
    with pytest.raises(RecipeError, match="transaction_labels"):
        events.tables(Plan("card_fraud", (PAYMENTS,), (), (SERVICE,)), SERVICE, RECIPE)
