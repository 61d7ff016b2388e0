"""Feast's historical features on the running appliance, against plain SQL on the business database's own rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.feature_store import feature_store
from stream_jobs.lake import reading

pytestmark = pytest.mark.integration

ROWS = 200


@pytest.fixture(scope="module")
def frame(live: Context, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Payments as an entity frame, each at its own position."""
    scenario = plans.read(live.layout.plan_file)
    table = next(each for each in scenario.tables if each.table == "public.transactions")
    with reading.connect(Path(tmp_path_factory.mktemp("scratch"))) as connection:
        reading.changes(live, connection, table).create_view("payments")
        return connection.execute(
            f"""SELECT after_transaction_id AS transaction_id, after_customer_id AS customer_id, position,
                       after_terminal_id AS terminal_id, after_tx_amount::DOUBLE AS tx_amount,
                       epoch_us(after_tx_datetime) AS tx_datetime, after_tx_datetime AS event_timestamp
                FROM payments WHERE op IN ('c', 'r') AND after_transaction_id < 9000000000
                ORDER BY hash(after_transaction_id) LIMIT {ROWS}"""
        ).df()


def test_windows_are_what_the_business_rows_say(
    live: Context, frame: Any, sample_db: psycopg.Connection[tuple[object, ...]]
) -> None:
    """Of payments that nothing was committed late for: everything at or before their own time."""
    store = feature_store(live)
    got = store.get_historical_features(frame.drop(columns="position"), store.get_feature_service("card_fraud")).to_df()
    assert got["transaction_id"].tolist() == frame["transaction_id"].tolist(), "rows keep their order"
    filled = 0
    for row in got.to_dict("records"):
        for days in (1, 7, 30):
            counted = sample_db.execute(
                "SELECT count(*), avg(tx_amount) FROM transactions WHERE customer_id = %(customer_id)s"
                " AND tx_datetime <= %(event_timestamp)s"
                f" AND tx_datetime > %(event_timestamp)s - interval '{days} days'",
                row,
            ).fetchone()
            labels = sample_db.execute(
                "SELECT count(*), coalesce(avg(is_fraud), 0) FROM transaction_labels"
                " WHERE terminal_id = %(terminal_id)s AND labelled_at <= %(event_timestamp)s"
                f" AND labelled_at > %(event_timestamp)s - interval '{days} days'",
                row,
            ).fetchone()
            assert counted is not None and labels is not None
            assert row[f"customer_tx_count_{days}d"] == counted[0]
            assert row[f"customer_tx_amount_mean_{days}d"] == pytest.approx(float(str(counted[1])), rel=1e-9)
            assert row[f"terminal_label_count_{days}d"] == labels[0]
            assert row[f"terminal_fraud_rate_{days}d"] == pytest.approx(float(str(labels[1])), rel=1e-9)
            filled += days == 30 and row["terminal_label_count_30d"] > 0
    assert filled > 0, "no row with a label: nothing was compared"


def test_a_position_cuts_off_what_was_committed_later(live: Context, frame: Any) -> None:
    store = feature_store(live)
    features = ["customer_payments:customer_tx_count_30d", "terminal_labels:terminal_label_count_30d"]
    own = store.get_historical_features(frame, features, full_feature_names=True).to_df()
    before = store.get_historical_features(frame.assign(position="0" * 32), features).to_df()
    assert (own["customer_payments__customer_tx_count_30d"] >= 1).all(), "a payment counts itself at its own position"
    assert (before["customer_tx_count_30d"] == 0).all()
    assert (before["terminal_label_count_30d"] == 0).all()


def test_the_row_in_hand_counts_once_whether_stored_or_not(live: Context, frame: Any) -> None:
    store = feature_store(live)
    features = ["customer_payments:customer_tx_count_30d", "customer_payments:customer_tx_amount_mean_30d"]
    plain = store.get_historical_features(frame, features).to_df()
    stored = frame.assign(row_in_hand=frame["transaction_id"].astype(str))
    same = store.get_historical_features(stored, features).to_df()
    assert (same["customer_tx_count_30d"] == plain["customer_tx_count_30d"]).all()
    assert same["customer_tx_amount_mean_30d"].to_numpy() == pytest.approx(
        plain["customer_tx_amount_mean_30d"].to_numpy()
    )
    new = store.get_historical_features(frame.assign(row_in_hand="-5", tx_amount=1.0), features).to_df()
    assert (new["customer_tx_count_30d"] == plain["customer_tx_count_30d"] + 1).all()
