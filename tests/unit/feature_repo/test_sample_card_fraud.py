"""The generated sample: seeded, of the promised size and shape; and files of payments, good and bad."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.errors import UsageError
from feature_repo.card_fraud.sample import SAMPLE
from feature_repo.card_fraud.sample.generator import Parameters, generate
from feature_repo.card_fraud.sample.tables import from_file

_LABELS, _PAYMENTS = 0, 1


def test_the_default_has_the_promised_size_within_seconds() -> None:
    began = time.monotonic()
    generated = generate(Parameters())
    assert time.monotonic() - began < 10
    assert 140_000 < len(generated.kind) < 170_000
    assert 0.007 < (generated.kind > 0).mean() < 0.013
    assert (np.bincount(generated.kind, minlength=4)[1:] > 100).all()
    assert (np.diff(generated.time_us) >= 0).all()


def test_the_same_parameters_give_the_same_payments_and_another_seed_others() -> None:
    small = Parameters(days=10, customers=40, terminals=60)
    first, second, other = generate(small), generate(small), generate(Parameters(10, 40, 60, seed=1))
    assert all(np.array_equal(getattr(first, name), getattr(second, name)) for name in ("time_us", "amount_cents"))
    assert not np.array_equal(first.amount_cents, other.amount_cents)


def test_customers_pay_near_home() -> None:
    generated = generate(Parameters(days=10, customers=200, terminals=2_000))
    home, at = generated.customer_id - 1, generated.terminal_id - 1
    away = np.hypot(
        generated.home_x[home] - generated.terminal_x[at], generated.home_y[home] - generated.terminal_y[at]
    )
    assert np.quantile(away, 0.99) <= Parameters().reach


def test_frauds_look_as_their_kind_says() -> None:
    generated = generate(Parameters())
    amount = generated.amount_cents / 100
    assert amount[generated.kind == 1].min() >= 260
    assert amount[generated.kind == 3].mean() > 3 * amount[generated.kind == 0].mean()
    frauds = np.bincount(generated.terminal_id[generated.kind == 2])
    assert frauds.max() >= 10


@pytest.mark.parametrize("profile", ["default", "small"])
def test_every_payment_has_one_label_seven_days_later_and_nothing_else_tells_of_fraud(profile: str) -> None:
    sample = SAMPLE.profiles[profile]()
    payments, labels = sample.streams[_PAYMENTS].rows, sample.streams[_LABELS].rows
    assert sample.streams[_LABELS].table == "public.transaction_labels"
    assert payments["transaction_id"].equals(labels["transaction_id"])
    first = payments["tx_datetime"][0].as_py()
    assert labels["labelled_at"][0].as_py() - first == timedelta(days=7)
    assert set(payments.column_names) == {"transaction_id", "tx_datetime", "customer_id", "terminal_id", "tx_amount"}
    assert set(labels["is_fraud"].to_pylist()) == {0, 1}


def _file(folder: Path, **replaced: pa.Array) -> Path:
    columns = {
        "transaction_id": pa.array([7, 8]),
        "tx_datetime": pa.array([datetime(2018, 4, 1), datetime(2018, 4, 2, 3, 4, 5)], pa.timestamp("s")),
        "customer_id": pa.array([1, 2], pa.int32()),
        "terminal_id": pa.array([3, 3], pa.int32()),
        "tx_amount": pa.array([0.1 + 0.2, 57.16]),
        "tx_fraud": pa.array([0, 1], pa.int8()),
        "tx_fraud_scenario": pa.array([0, 2], pa.int8()),
    }
    table = pa.table({name: array for name, array in (columns | replaced).items() if array is not None})
    path = folder / "payments.parquet"
    pq.write_table(table, path)
    return path


def test_a_file_becomes_rows(tmp_path: Path) -> None:
    sample = from_file(_file(tmp_path))
    payments, labels = sample.streams[_PAYMENTS].rows.to_pylist(), sample.streams[_LABELS].rows.to_pylist()
    assert [str(row["tx_amount"]) for row in payments] == ["0.30", "57.16"]
    assert payments[1]["tx_datetime"] == datetime(2018, 4, 2, 3, 4, 5, tzinfo=UTC)
    assert labels[1] == {
        "transaction_id": 8, "terminal_id": 3, "is_fraud": 1,
        "labelled_at": datetime(2018, 4, 9, 3, 4, 5, tzinfo=UTC),
    }  # fmt: skip
    assert sample.static["public.terminals"]["terminal_id"].to_pylist() == [3]


def test_a_file_without_columns_is_refused_naming_each(tmp_path: Path) -> None:
    path = _file(tmp_path, tx_fraud=None, customer_id=pa.array(["a", "b"]))
    with pytest.raises(UsageError) as refused:
        from_file(path)
    assert refused.value.context["columns"] == [
        "customer_id: expected integer, got string", "tx_fraud: expected integer, got no such column",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("tx_fraud", [0, 2], "other than 0 and 1"),
        ("tx_amount", [1.234, 1.0], "more than two digits"),
        ("tx_amount", [None, 1.0], "nulls in tx_amount"),
        ("transaction_id", [7, 7], "more than once"),
    ],
)
def test_a_file_with_broken_values_is_refused(tmp_path: Path, column: str, values: list[float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_file(_file(tmp_path, **{column: pa.array(values)}))


def test_what_is_no_parquet_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("no")
    with pytest.raises(UsageError, match="not a Parquet file"):
        from_file(tmp_path / "x.parquet")
