"""What is let in: enough to be busy, no more than is answered in time; and what each app may have."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.settings import Limits
from gateway.apps import App, AppLimits
from gateway.errors import TooManyError
from gateway.http.gate import Gate, weight
from gateway.http.limits import Allowances

NOW = datetime.now(UTC)


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _busy(gate: Gate, time: Time, per_second: float, seconds: float) -> int:
    """Always as much as the gate lets in, and so many done per second; how many were let in."""
    inside, entered = 0, 0
    for _ in range(round(per_second * seconds)):
        while gate.enter(1):
            inside += 1
            entered += 1
            if inside > 10_000:
                break
        time.now += 1 / per_second
        gate.leave(1)
        inside -= 1
    return inside


@pytest.mark.parametrize("per_second", [2_000.0, 10_000.0])
def test_as_much_is_let_in_as_is_done_in_the_wait(per_second: float) -> None:
    time = Time()
    gate = Gate(5, time)
    gate._per_second = 10**4 * 5.0
    inside = _busy(gate, time, per_second, 3)
    assert inside == pytest.approx(max(16, per_second * 0.005), rel=0.1, abs=1)
    assert gate.refused > 0


def test_an_idle_gate_lets_in_whatever_comes() -> None:
    time = Time()
    gate = Gate(5, time)
    for _ in range(1_000):
        assert gate.enter(weight(1_000))
        time.now += 0.01
        gate.leave(weight(1_000))
    assert gate.room == math.inf and gate.refused == 0


def test_a_large_request_is_let_in_when_nothing_is_under_way() -> None:
    gate = Gate(5)
    gate._per_second = 100.0
    assert gate.enter(500)
    assert not gate.enter(1)
    gate.leave(500)
    assert gate.enter(1)


def _app(**limits: int) -> App:
    return App("app-1", "test", bytes(32), None, NOW, NOW, None, AppLimits(**limits))


@given(st.lists(st.floats(0, 0.3), min_size=50, max_size=200), st.integers(1, 20))
def test_an_app_never_has_more_than_its_rate_and_a_second_s_worth(gaps: list[float], rate: int) -> None:
    time, app = Time(), _app(requests_per_second=rate)
    allowances = Allowances(Limits(), time)
    allowed = []
    for gap in gaps:
        time.now += gap
        try:
            allowances.enter(app)
        except TooManyError as refused:
            assert refused.context["retry_after_s"] >= 1
            continue
        allowed.append(time.now)
        allowances.leave(app)
    for begin in range(len(allowed)):
        for end in range(begin, len(allowed)):
            assert end - begin + 1 <= rate * (1 + allowed[end] - allowed[begin]) + 1


def test_rows_and_concurrency_have_limits_of_their_own() -> None:
    time = Time()
    allowances = Allowances(Limits(concurrent_requests=2, rows_per_second=10), time)
    app = _app()
    allowances.enter(app)
    allowances.rows(app, 1_000)
    with pytest.raises(TooManyError, match="rows per second"):
        allowances.rows(app, 1)
    allowances.enter(app)
    with pytest.raises(TooManyError, match="concurrent requests") as refused:
        allowances.enter(app)
    assert refused.value.code == "limit.concurrent_requests"
    allowances.leave(app)
    allowances.enter(app)


def test_0_is_no_limit_and_less_is_refused() -> None:
    allowances = Allowances(Limits(requests_per_second=1))
    for _ in range(100):
        allowances.enter(_app(requests_per_second=0))
    with pytest.raises(UsageError):
        AppLimits(rows_per_second=-1)
