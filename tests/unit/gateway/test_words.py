"""What a person reads."""

from __future__ import annotations

import pytest

from gateway import words
from gateway.http.status import PartView, sentence
from tests.unit.gateway.example import PLAN, SERVICE


def test_features_are_said_in_words() -> None:
    assert words.features(PLAN, SERVICE) == {
        "request:amount": "Amount",
        "spending:count_7d": "Number of orders of the customer in 7 days",
        "spending:amount_mean_1d": "Average amount of the customer in 1 day",
        "spending:returned_rate_2h": "Share of orders that are returned of the customer in 2 hours",
    }


@pytest.mark.parametrize(
    ("width", "said"), [(86_400_000_000, "1 day"), (5_400_000_000, "90 minutes"), (1_500_000, "1500000 µs")]
)
def test_a_window_is_said_in_whole_units(width: int, said: str) -> None:
    assert words.window(width) == said


def _part(does: str, ready: bool) -> PartView:
    return PartView(does, does, ready, "", 0, "")


def test_the_state_is_one_sentence() -> None:
    good, bad = _part("the log", True), _part("live features", False)
    assert "running" in sentence([good])
    assert sentence([good, bad]) == "The system needs attention: live features does not work at the moment."
    assert "4 of 5 parts" in sentence([good, *[bad] * 4])
    assert "checked" in sentence([])
