"""What follows from the evidence."""

from __future__ import annotations

import msgspec
import numpy as np

from models.learning import decide
from models.learning.decide import HOUR_US, Load
from models.learning.evidence import Evidence, Pairs, weigh
from models.learning.limits import Learning
from models.split import DAY_US

_LIMITS = Learning()
_BETTER = Evidence(5_000, 40, 300.0, 0.001, 0.008, 0.005, 0.3, 0.1)
_CALM = Load(0.01, 1.5)


def _of(evidence: Evidence, load: Load = _CALM, age_us: int = HOUR_US) -> str:
    return decide.of_challenger(evidence, _BETTER, _CALM, load, age_us, _LIMITS).act


def test_a_better_one_is_promoted() -> None:
    assert _of(_BETTER) == "promote"


def test_one_that_took_the_place_of_a_better_one_waits_for_labels_of_its_own() -> None:
    own, none = (
        msgspec.structs.replace(_BETTER, better=0.4),
        weigh(Pairs(np.zeros(0, np.int8), np.zeros(0), np.zeros(0))),
    )
    for one in (own, none):
        assert decide.of_challenger(_BETTER, one, _CALM, _CALM, HOUR_US, _LIMITS).act == "wait"


def test_too_few_positives_decide_nothing() -> None:
    assert _of(msgspec.structs.replace(_BETTER, positives=_LIMITS.min_positives - 1)) == "wait"


def test_a_worse_one_and_an_old_undecided_one_give_way() -> None:
    assert _of(msgspec.structs.replace(_BETTER, better=0.1, worse=25.0)) == "drop"
    undecided = msgspec.structs.replace(_BETTER, better=3.0)
    assert _of(undecided) == "wait"
    assert _of(undecided, age_us=round(_LIMITS.challenger_days * DAY_US)) == "drop"


def test_a_better_one_that_breaks_a_guard_rail_is_dropped_and_it_is_said_why() -> None:
    for evidence, load, word in (
        (msgspec.structs.replace(_BETTER, calibration_challenger=0.9), _CALM, "apart"),
        (_BETTER, Load(0.05, 1.5), "alerts"),
        (_BETTER, Load(0.01, 30.0), "ms"),
    ):
        verdict = decide.of_challenger(evidence, _BETTER, _CALM, load, HOUR_US, _LIMITS)
        assert verdict.act == "drop" and word in verdict.why


def test_a_champion_that_is_farther_off_forbids_no_challenger() -> None:
    assert _of(msgspec.structs.replace(_BETTER, calibration_champion=-0.8, calibration_challenger=-0.7)) == "promote"


def test_the_way_back() -> None:
    assert decide.of_former(_BETTER, HOUR_US, _LIMITS).act == "back"
    calm = msgspec.structs.replace(_BETTER, better=2.0)
    assert decide.of_former(calm, HOUR_US, _LIMITS).act == "wait"
    assert decide.of_former(calm, round(_LIMITS.former_days * DAY_US), _LIMITS).act == "drop"


def test_a_candidate_is_due_when_time_has_passed_and_there_is_enough() -> None:
    day = round(_LIMITS.update_hours * HOUR_US)
    assert decide.update_due(0, day, _LIMITS.update_rows, _LIMITS.update_positives, _LIMITS)
    assert not decide.update_due(0, day - 1, _LIMITS.update_rows, _LIMITS.update_positives, _LIMITS)
    assert not decide.update_due(0, day, _LIMITS.update_rows - 1, _LIMITS.update_positives, _LIMITS)
    assert not decide.update_due(0, day, _LIMITS.update_rows, _LIMITS.update_positives - 1, _LIMITS)
