"""What is done with a score, and how it is said to a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

POLICY: Final[dict[str, Any]] = {
    "review": 0.03,
    "decline": 0.35,
    "daily_review_capacity": 200,
    "explain": "feature_repo.card_fraud.policy:explain",
    "score_updates": False,
}

_LARGE_AMOUNT = 220.0
"""More than this, in the currency's unit, is rare for any customer."""
_TERMINAL_RATE = 0.25
"""Share of frauds among a terminal's labels from which the terminal is named."""
_TIMES_THE_MEAN = 3.0


def _number(features: Mapping[str, Any], name: str) -> float:
    value = features.get(name)
    return 0.0 if value is None else float(value)


def explain(row: Mapping[str, Any], features: Mapping[str, Any], score: float) -> tuple[str, str]:
    """(kind of alert, a short text) for a row, its features by "view:feature", and its score (0 … 1).

    Kinds: "large amount", "terminal", "card", and "pattern" where no single feature stands out.
    """
    amount = _number(features, "request:amount")
    mean = _number(features, "customer_payments:customer_tx_amount_mean_30d")
    rate, days = max((_number(features, f"terminal_labels:terminal_fraud_rate_{n}d"), n) for n in (1, 7, 30))
    if amount > _LARGE_AMOUNT:
        return (
            "large amount",
            f"{amount:.2f} is more than {_LARGE_AMOUNT:.0f}; the customer's 30-day mean is {mean:.2f}",
        )
    if rate >= _TERMINAL_RATE:
        return "terminal", f"{rate:.0%} of the labels of terminal {row.get('terminal_id')} in {days} days are frauds"
    if mean > 0 and amount >= _TIMES_THE_MEAN * mean:
        return (
            "card",
            f"{amount:.2f} is {amount / mean:.1f} times customer {row.get('customer_id')}'s 30-day mean {mean:.2f}",
        )
    return "pattern", f"the features together score {score:.2f}; none of them stands out"
