"""Random changes while a store's writer and Flink's task manager are killed: every value is what plain SQL says."""

from __future__ import annotations

import pytest

from appliance import notices
from appliance.parts.base import Context
from tests.e2e.oracle import ours
from tests.e2e.oracle.run import Options, run

pytestmark = pytest.mark.e2e

_KILLED = ("flink-taskmanager", "writer-redis")


def test_no_value_differs_from_the_oracle(live: Context) -> None:
    options = Options(changes=20_000, kills=1, parts=_KILLED, probes=5_000, times=3, largest=2_000, rate=500)
    try:
        result = run(live, options, print)
    finally:
        ours.clear(live)
    assert sorted(kill.part for kill in result.kills) == sorted(_KILLED)
    assert all(each.values > 0 for each in result.compared)
    assert result.different == 0, result.explained
    assert not [notice.sentence for notice in notices.read(live.layout) if "went back" in notice.sentence]
