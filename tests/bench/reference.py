"""What the book says of each payment: its published features, and its method (pandas' rolling windows) for any month.

Imports nothing of ours. A window of N days at payment t of a customer covers (t - N days, t], the payment itself and
those of the same second that were made before it included; a terminal's is shifted 7 days into the past.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DAYS = (1, 7, 30)
_DELAY_DAYS = 7
PUBLISHED = {
    **{f"customer_id_nb_tx_{n}day_window": f"customer_tx_count_{n}d" for n in DAYS},
    **{f"customer_id_avg_amount_{n}day_window": f"customer_tx_amount_mean_{n}d" for n in DAYS},
    **{f"terminal_id_nb_tx_{n}day_window": f"terminal_label_count_{n}d" for n in DAYS},
    **{f"terminal_id_risk_{n}day_window": f"terminal_fraud_rate_{n}d" for n in DAYS},
}
"""The file's column → our feature."""
FEATURES = tuple(PUBLISHED.values())


def payments(folder: Path, until: str) -> pd.DataFrame:
    """The payments before ``until``, in the order in which the book counted them: by time, and within a second of one
    customer by the published counts where there are any, else by id."""
    rows = pd.read_parquet(folder / "card_transactions.parquet")
    rows["tx_datetime"] = rows["tx_datetime"].astype("datetime64[us]")
    rows = rows[rows["tx_datetime"] < pd.Timestamp(until)]
    counts = pd.read_parquet(
        folder / "reference_features.parquet", columns=["transaction_id", "customer_id_nb_tx_30day_window"]
    )
    rows = rows.merge(counts, on="transaction_id", how="left")
    order = np.lexsort((rows["transaction_id"], rows["customer_id_nb_tx_30day_window"].fillna(0), rows["tx_datetime"]))
    return rows.iloc[order].drop(columns="customer_id_nb_tx_30day_window").reset_index(drop=True)


def tied(rows: pd.DataFrame) -> dict[str, int]:
    """Payments that share customer and second with another, and how many of them are not in the order of their ids."""
    same = rows[rows.duplicated(["customer_id", "tx_datetime"], keep=False)]
    grouped = same.groupby(["customer_id", "tx_datetime"])["transaction_id"]
    turned = int(sum(len(ids) for _, ids in grouped if not ids.is_monotonic_increasing))
    return {"payments": len(same), "not_in_id_order": turned}


def published(folder: Path) -> pd.DataFrame:
    """The book's own values: transaction_id and ``FEATURES``."""
    return pd.read_parquet(folder / "reference_features.parquet").rename(columns=PUBLISHED)[
        ["transaction_id", *FEATURES]
    ]


def by_the_books_method(rows: pd.DataFrame) -> pd.DataFrame:
    """The same for payments in their order, sums of money in whole cents."""
    made: dict[str, Any] = {"transaction_id": rows["transaction_id"].to_numpy()}
    cents = (rows["tx_amount"] * 100).round()
    frame = rows.assign(cents=cents, fraud=rows["tx_fraud"].astype(float), place=np.arange(len(rows)))
    for days in DAYS:
        counts, sums = _rolled(frame, "customer_id", "cents", days)
        made[f"customer_tx_count_{days}d"] = counts
        made[f"customer_tx_amount_mean_{days}d"] = sums / 100 / counts
    late_counts, late_frauds = _rolled(frame, "terminal_id", "fraud", _DELAY_DAYS)
    for days in DAYS:
        counts, frauds = _rolled(frame, "terminal_id", "fraud", _DELAY_DAYS + days)
        counts, frauds = counts - late_counts, frauds - late_frauds
        made[f"terminal_label_count_{days}d"] = counts
        made[f"terminal_fraud_rate_{days}d"] = np.divide(frauds, counts, out=np.zeros(len(rows)), where=counts > 0)
    return pd.DataFrame(made)


def _rolled(frame: pd.DataFrame, key: str, column: str, days: int) -> tuple[Any, Any]:
    """Counts and sums [rows] over (t - days, t], up to the row itself among rows of one time."""
    ordered = frame.sort_values([key, "place"])
    rolling = ordered.groupby(key, sort=True).rolling(f"{days}D", on="tx_datetime")[column]
    place = ordered["place"].to_numpy()
    found = []
    for values in (rolling.count(), rolling.sum()):
        by_place = np.empty(len(frame))
        by_place[place] = values.to_numpy()
        found.append(np.rint(by_place))
    return found[0], found[1]


def different(expected: pd.DataFrame, got: pd.DataFrame) -> pd.DataFrame:
    """Rows where a count is not equal or a number is off by more than 1e-9, with both values. Same ids, any order."""
    both = expected.merge(got, on="transaction_id", suffixes=("_book", "_ours"), validate="one_to_one")
    assert len(both) == len(expected) == len(got), f"{len(expected)} rows expected, {len(got)} got"
    wrong = np.zeros(len(both), bool)
    for feature in FEATURES:
        book, ours = (both[f"{feature}_{whose}"].to_numpy(float) for whose in ("book", "ours"))
        wrong |= ~(
            (book == ours) if "count" in feature else (np.abs(book - ours) <= 1e-9 * np.maximum(1, np.abs(book)))
        )
    return both[wrong]
