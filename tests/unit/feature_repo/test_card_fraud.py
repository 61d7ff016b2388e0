"""Plain functions of the scenario: the calendar and the policy."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from feature_repo.card_fraud import calendar, policy


def row(text: str) -> dict[str, object]:
    return {
        "tx_datetime": int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000,
        "tx_amount": "12.50",
    }


@pytest.mark.parametrize(
    ("at", "weekend", "night"),
    [
        ("2018-04-06T23:59:59", 0, 0), ("2018-04-07T00:00:00", 1, 1), ("2018-04-08T06:59:59", 1, 1),
        ("2018-04-08T07:00:00", 1, 0), ("2018-04-09T00:00:00", 0, 1), ("1969-12-31T23:00:00", 0, 0),
    ],
)  # fmt: skip
def test_weekend_and_night_in_utc(at: str, weekend: int, night: int) -> None:
    assert (calendar.weekend(row(at)), calendar.night(row(at))) == (weekend, night)


def test_amount_is_a_number_whatever_it_came_as() -> None:
    assert calendar.amount({"tx_amount": "12.50"}) == calendar.amount({"tx_amount": 12.5}) == 12.5


@pytest.mark.parametrize(
    ("features", "kind"),
    [
        ({"request:amount": 221.0}, "large amount"),
        ({"request:amount": 10.0, "terminal_labels:terminal_fraud_rate_7d": 0.5}, "terminal"),
        ({"request:amount": 90.0, "customer_payments:customer_tx_amount_mean_30d": 30.0}, "card"),
        ({"request:amount": 10.0, "customer_payments:customer_tx_amount_mean_30d": None}, "pattern"),
        ({}, "pattern"),
    ],
)
def test_the_kind_of_an_alert_follows_from_its_features(features: dict[str, float | None], kind: str) -> None:
    assert policy.explain({"terminal_id": 7, "customer_id": 8}, features, 0.9)[0] == kind
