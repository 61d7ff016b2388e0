"""The replay of the learning bench: card payments with their features, one kind of fraud held back before a day.

A row that is held back never happened: neither its payment nor its label is in any feature. Features are those of the
book's method (``tests.bench.reference``), so they are the values that the appliance serves
(``tests.bench.check_reference``), labels arrive 7 days after their payment.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from models.split import DAY_US
from tests.bench import reference

LABEL_DELAY_US = 7 * DAY_US
INPUTS = ("amount", "is_weekend", "is_night", *reference.FEATURES)


@dataclass(frozen=True)
class Replay:
    """Payments in the order of time, all arrays [n]; x: [n, k] float32 in the order of ``INPUTS``.

    kind: 0 for none, else the scenario of the fraud. Times are µs UTC.
    """

    event_key: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]
    event_time: npt.NDArray[np.int64]
    known_at: npt.NDArray[np.int64]
    x: npt.NDArray[np.float32]
    label: npt.NDArray[np.int8]
    kind: npt.NDArray[np.int8]


def frame(replay: Replay, rows: npt.NDArray[np.int64]) -> pa.Table:
    """Rows as the learning loop takes them, see ``models.learning.mix``."""
    columns: dict[str, Any] = {name: replay.x[rows, number] for number, name in enumerate(INPUTS)}
    columns |= {"event_key": replay.event_key[rows].astype(str).tolist(), "event_time": replay.event_time[rows]}
    columns |= {"subject": replay.subject[rows], "label": replay.label[rows]}
    return pa.table(columns)


def load(folder: Path, cache: Path, begins: str, until: str, held_back: int) -> Replay:
    """The payments before ``until``; frauds of the kind ``held_back`` (0: none) only from the day ``begins`` on.

    cache: folder in which the features are kept between runs, by a hash of what they are made of.
    """
    key = hashlib.sha256(f"{begins}|{until}|{held_back}".encode()).hexdigest()[:12]
    path = cache / f"learning-{key}.parquet"
    if not path.exists():
        rows = reference.payments(folder, until)
        early = (rows["tx_fraud_scenario"] == held_back) & (rows["tx_datetime"] < pd.Timestamp(begins))
        rows = rows[~(early & (held_back > 0))].reset_index(drop=True)
        frame = rows.merge(reference.by_the_books_method(rows), on="transaction_id", validate="one_to_one")
        cache.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(path)
    return _replay(pd.read_parquet(path))


def _replay(frame: pd.DataFrame) -> Replay:
    time = frame["tx_datetime"]
    columns = {
        "amount": frame["tx_amount"],
        "is_weekend": (time.dt.dayofweek >= 5).astype(float),
        "is_night": (time.dt.hour <= 6).astype(float),
        **{name: frame[name] for name in reference.FEATURES},
    }
    event_time = time.astype("datetime64[us]").astype("int64").to_numpy()
    return Replay(
        frame["transaction_id"].to_numpy(np.int64),
        frame["customer_id"].to_numpy(np.int64),
        event_time,
        event_time + LABEL_DELAY_US,
        np.stack([columns[name].to_numpy(np.float32) for name in INPUTS], axis=1),
        frame["tx_fraud"].to_numpy(np.int8),
        frame["tx_fraud_scenario"].to_numpy(np.int8),
    )
