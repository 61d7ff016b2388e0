"""The ids of predictions and alerts."""

from __future__ import annotations

import uuid

import pytest

from gateway.scoring import identity

IDENTITY = ("main", "orders", "cdc", "7", "0" * 31 + "1")


def test_it_is_a_uuid_of_version_7_that_begins_with_the_time() -> None:
    made = uuid.UUID(identity.prediction_id(*IDENTITY, 1_534_334_400_123_456))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_534_334_400_123


def test_a_retry_gives_the_same_id() -> None:
    assert identity.prediction_id(*IDENTITY, 5_000_000) == identity.prediction_id(*IDENTITY, 5_000_000)


@pytest.mark.parametrize("changed", range(5))
def test_each_part_of_the_identity_counts(changed: int) -> None:
    other = [*IDENTITY]
    other[changed] += "x"
    assert identity.prediction_id(*IDENTITY, 0) != identity.prediction_id(*other, 0)  # type: ignore[arg-type]


def test_parts_do_not_run_into_each_other() -> None:
    assert identity.prediction_id("main", "ab", "c", "k", "p", 0) != identity.prediction_id(
        "main", "a", "bc", "k", "p", 0
    )


def test_an_event_has_one_alert() -> None:
    assert identity.alert_id("main", "orders", "7") == identity.alert_id("main", "orders", "7")
    assert identity.alert_id("main", "orders", "7") != identity.alert_id("main", "orders", "8")
