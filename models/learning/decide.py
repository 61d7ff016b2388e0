"""What follows from the evidence: promote, go back, drop, or wait. Plain functions of figures."""

from __future__ import annotations

from typing import Literal

import msgspec

from models.learning.evidence import Evidence
from models.learning.limits import Learning
from models.split import DAY_US

HOUR_US = 3_600_000_000
_ALERT_SLACK = 0.002
"""Share of rows: a champion that raises next to no alerts would otherwise forbid every challenger."""
_LATENCY_SLACK_MS = 1.0


class Load(msgspec.Struct, frozen=True):
    """What serving a model would mean. alerts: share of shadowed rows at or above the policy's review threshold.

    row_ms: median time of one row in Triton.
    """

    alerts: float = 0.0
    row_ms: float = 0.0


class Verdict(msgspec.Struct, frozen=True):
    """act: promote the challenger, go back to the former champion, drop the one in shadow, or wait. why: a sentence."""

    act: Literal["promote", "back", "drop", "wait"]
    why: str


def guards(evidence: Evidence, champion: Load, challenger: Load, limits: Learning) -> list[str]:
    """Guard rails that a challenger does not keep, in words."""
    broken = []
    allowed = max(limits.calibration_error, abs(evidence.calibration_champion))
    if abs(evidence.calibration_challenger) > allowed:
        broken.append(
            f"expected and found positives are {abs(evidence.calibration_challenger):.0%} apart, allowed {allowed:.0%}"
        )
    most = limits.alert_ratio * champion.alerts + _ALERT_SLACK
    if challenger.alerts > most:
        broken.append(f"{challenger.alerts:.2%} of the rows would be alerts, allowed {most:.2%}")
    slowest = limits.latency_ratio * champion.row_ms + _LATENCY_SLACK_MS
    if challenger.row_ms > slowest:
        broken.append(f"a row takes {challenger.row_ms:.1f} ms, allowed {slowest:.1f} ms")
    return broken


def of_challenger(
    evidence: Evidence, own: Evidence, champion: Load, challenger: Load, age_us: int, limits: Learning
) -> Verdict:
    """The verdict on a challenger. evidence: of the whole test, own: of its own part alone.

    age_us: from the cutoff of the first challenger of the test to the newest label. One that took the place of a better
    one waits until its own labels speak for it.
    """
    figures = (
        f"{evidence.rows} labels, {evidence.positives} positive; squared error "
        f"{evidence.brier_challenger:.6f} against {evidence.brier_champion:.6f}"
    )
    if evidence.positives >= limits.min_positives:
        if evidence.worse >= 1 / limits.error_level:
            return Verdict("drop", f"it is worse (e-value {evidence.worse:.3g}): {figures}")
        if evidence.better >= 1 / limits.error_level and own.positives and own.better > 1:
            broken = guards(evidence, champion, challenger, limits)
            if not broken:
                return Verdict("promote", f"it is better (e-value {evidence.better:.3g}): {figures}")
            return Verdict("drop", f"it is better (e-value {evidence.better:.3g}), but {'; '.join(broken)}: {figures}")
    if age_us >= limits.challenger_days * DAY_US:
        return Verdict("drop", f"undecided after {age_us / DAY_US:.1f} days: {figures}")
    return Verdict("wait", f"e-values better {evidence.better:.3g}, worse {evidence.worse:.3g}: {figures}")


def of_former(evidence: Evidence, age_us: int, limits: Learning) -> Verdict:
    """The verdict on the champion before: ``champion`` of the evidence is the new one, ``challenger`` the former."""
    figures = (
        f"{evidence.rows} labels, {evidence.positives} positive; squared error of the former "
        f"{evidence.brier_challenger:.6f} against {evidence.brier_champion:.6f}"
    )
    if evidence.positives >= limits.min_positives and evidence.better >= 1 / limits.way_back_error_level:
        return Verdict("back", f"the former champion is better (e-value {evidence.better:.3g}): {figures}")
    if age_us >= limits.former_days * DAY_US:
        return Verdict("drop", f"the new champion has stood for {age_us / DAY_US:.1f} days: {figures}")
    return Verdict("wait", f"e-value of the way back {evidence.better:.3g}: {figures}")


def update_due(cutoff: int, newest_label: int, rows: int, positives: int, limits: Learning) -> bool:
    """Whether there is enough for a candidate. cutoff: of the last one; rows, positives: labels that came after it."""
    return (
        newest_label - cutoff >= limits.update_hours * HOUR_US
        and rows >= limits.update_rows
        and positives >= limits.update_positives
    )
