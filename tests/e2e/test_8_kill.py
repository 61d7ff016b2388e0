"""kill -9 of each process, and of the broker again and again, while rows arrive: each is scored exactly once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from appliance.parts.base import Context
from tests.e2e import business, ledger, operator

pytestmark = pytest.mark.e2e

PER_SECOND = 10
READY_AGAIN_SECONDS = 180
LEDGER_SECONDS = 240
BROKER_KILLS = 4
"""One that fell into a commit, or into a transaction's last step, stopped scoring for ever (ADR 0031): one of three."""


def test_every_process_killed_under_load(live: Context) -> None:
    payments = business.Payments(live, seed=8)
    operator.wait_all_ready(READY_AGAIN_SECONDS)
    seconds: dict[str, float] = {}
    with business.committing(live, payments, PER_SECOND) as committed:
        for name, part in operator.statuses().items():
            os.kill(part["pid"], signal.SIGKILL)
            seconds[name] = operator.wait_all_ready(READY_AGAIN_SECONDS)
            assert operator.statuses()[name]["pid"] != part["pid"], f"{name} is still the process that was killed"
    print("ready again after:", {name: round(value, 1) for name, value in seconds.items()})
    assert len(committed) > len(seconds), "too few rows were committed while processes were killed"
    _assert_each_scored_once(live, committed)


def test_the_broker_killed_again_and_again(live: Context) -> None:
    payments = business.Payments(live, seed=88)
    operator.wait_all_ready(READY_AGAIN_SECONDS)
    with business.committing(live, payments, PER_SECOND) as committed:
        for number in range(BROKER_KILLS):
            os.kill(operator.statuses()["kafka"]["pid"], signal.SIGKILL)
            operator.wait_all_ready(READY_AGAIN_SECONDS)
            time.sleep(number)
    _assert_each_scored_once(live, committed)


def _assert_each_scored_once(live: Context, committed: list[int]) -> None:
    counts = ledger.wait_for(live, committed, LEDGER_SECONDS)
    missing = [key for key in committed if counts[str(key)] == 0]
    doubled = [key for key in committed if counts[str(key)] > 1]
    assert not missing and not doubled, (
        f"of {len(committed)}: {len(missing)} missing {missing[:5]}, doubled {doubled[:5]}"
    )
