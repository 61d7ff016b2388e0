"""Payments as rows of the business database, whether generated or from a file.

Every payment gets one label row, ``labelled_at`` = its time + exactly 7 days. What fraud it was stands in no table.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from appliance.errors import UsageError
from feature_repo.card_fraud.sample.generator import Generated
from feature_repo.sample_data import Sample, Stream

_LABEL_DELAY_US = 7 * 86_400_000_000
_TIME = pa.timestamp("us", "UTC")
_MONEY = pa.decimal128(12, 2)
_LARGEST_CENTS = 10**12
_FILE_COLUMNS = {
    "transaction_id": "integer",
    "tx_datetime": "timestamp",
    "customer_id": "integer",
    "terminal_id": "integer",
    "tx_amount": "number",
    "tx_fraud": "integer",
    "tx_fraud_scenario": "integer",
}

Ints = npt.NDArray[np.int64]


def from_generated(generated: Generated) -> Sample:
    """The rows of a generated sample."""
    identifiers = np.arange(1, len(generated.time_us) + 1)
    customers = {"home_x": generated.home_x, "home_y": generated.home_y}
    terminals = {"x": generated.terminal_x, "y": generated.terminal_y}
    return _sample(
        pa.table({"customer_id": np.arange(1, len(generated.home_x) + 1), **customers}),
        pa.table({"terminal_id": np.arange(1, len(generated.terminal_x) + 1), **terminals}),
        _payments(identifiers, generated.time_us, generated.customer_id, generated.terminal_id, generated.amount_cents),
        (generated.kind > 0).astype(np.int64),
    )


def from_file(path: Path) -> Sample:
    """The rows of a Parquet file with the columns of ``docs/sample-data.md``.

    Raises UsageError naming every column that is missing or has another type, or the first rule that a value breaks.
    """
    table = _read(path)
    amount = table["tx_amount"].cast(pa.float64()).to_numpy()
    cents = np.rint(amount * 100).astype(np.int64)
    identifiers = _whole(table["transaction_id"])
    fraud = _whole(table["tx_fraud"])
    _refuse(path, len(np.unique(identifiers)) != len(identifiers), "a transaction_id stands there more than once")
    _refuse(path, not np.isin(fraud, (0, 1)).all(), "tx_fraud has values other than 0 and 1")
    _refuse(path, not np.allclose(amount * 100, cents, atol=1e-4), "tx_amount has more than two digits after the point")
    _refuse(path, bool((np.abs(cents) >= _LARGEST_CENTS).any()), "tx_amount has more than ten digits before the point")
    time_us = table["tx_datetime"].cast(pa.timestamp("us", table["tx_datetime"].type.tz)).cast(pa.int64()).to_numpy()
    customer, terminal = _whole(table["customer_id"]), _whole(table["terminal_id"])
    nowhere = pa.float64()
    return _sample(
        _with_nulls("customer_id", np.unique(customer), ("home_x", "home_y"), nowhere),
        _with_nulls("terminal_id", np.unique(terminal), ("x", "y"), nowhere),
        _payments(identifiers, time_us, customer, terminal, cents),
        fraud,
    )


def _read(path: Path) -> pa.Table:
    """The file's seven columns, without nulls."""
    if not path.is_file():
        raise UsageError("sample.no_file", f"there is no file {path}", hint="appliance sample load --file FILE")
    try:
        schema = pq.read_schema(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise UsageError("sample.not_parquet", f"{path} is not a Parquet file: {error}") from error
    wrong = [
        f"{name}: expected {kind}, got {schema.field(name).type if name in schema.names else 'no such column'}"
        for name, kind in _FILE_COLUMNS.items()
        if name not in schema.names or not _is(schema.field(name).type, kind)
    ]
    if wrong:
        raise UsageError(
            "sample.columns", f"{path}: {'; '.join(wrong)}", context={"columns": wrong},
            hint="docs/sample-data.md lists the columns and their types",
        )  # fmt: skip
    table = pq.read_table(path, columns=list(_FILE_COLUMNS))
    empty = [name for name in _FILE_COLUMNS if table[name].null_count]
    _refuse(path, bool(empty), f"there are nulls in {', '.join(empty)}")
    _refuse(path, table.num_rows == 0, "it has no row")
    return table


def _is(kind: pa.DataType, wanted: str) -> bool:
    """Whether an Arrow type is a ``number``, ``integer`` or ``timestamp``."""
    if wanted == "timestamp":
        return bool(pa.types.is_timestamp(kind))
    if wanted == "integer":
        return bool(pa.types.is_integer(kind))
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _refuse(path: Path, wrong: bool, what: str) -> None:
    if wrong:
        raise UsageError("sample.values", f"{path}: {what}", hint="docs/sample-data.md says what each column holds")


def _whole(column: pa.ChunkedArray) -> Ints:
    numbers: Ints = column.cast(pa.int64()).to_numpy()
    return numbers


def _with_nulls(key: str, identifiers: Ints, others: tuple[str, ...], kind: pa.DataType) -> pa.Table:
    """A table of keys whose other columns are not known."""
    return pa.table({key: identifiers, **{name: pa.nulls(len(identifiers), kind) for name in others}})


def _payments(identifiers: Ints, time_us: Ints, customer: Ints, terminal: Ints, cents: Ints) -> pa.Table:
    money = pc.multiply(pa.array(cents).cast(pa.decimal128(19, 0)), pa.scalar(Decimal("0.01")))
    return pa.table(
        {
            "transaction_id": identifiers,
            "tx_datetime": pa.array(time_us).cast(_TIME),
            "customer_id": customer,
            "terminal_id": terminal,
            "tx_amount": money.cast(_MONEY),
        }
    )


def _sample(customers: pa.Table, terminals: pa.Table, payments: pa.Table, fraud: Ints) -> Sample:
    """``fraud``: 0 or 1 for each payment."""
    labelled = pc.add(payments["tx_datetime"].cast(pa.int64()), _LABEL_DELAY_US).cast(_TIME)
    labels = pa.table(
        {
            "transaction_id": payments["transaction_id"],
            "terminal_id": payments["terminal_id"],
            "is_fraud": fraud,
            "labelled_at": labelled,
        }
    )
    return Sample(
        static={"public.customers": customers, "public.terminals": terminals},
        streams=(
            Stream("public.transaction_labels", "transaction_id", "labelled_at", labels),
            Stream("public.transactions", "transaction_id", "tx_datetime", payments),
        ),
        clock_table="public.transactions",
    )
