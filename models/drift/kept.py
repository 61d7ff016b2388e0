"""The last comparison of each service: in a file, in words, and as figures. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from appliance.parts.base import Context
from appliance.settings import Drift as Limits


class FeatureDrift(msgspec.Struct, frozen=True):
    """One feature as served against the training set. psi_by_chance: what its psi would be had nothing changed.

    missing_share, training_missing_share: of null values. unseen_share: of values that the training set does not have
    (no such category, or outside its range).
    """

    feature: str
    psi: float
    psi_by_chance: float
    missing_share: float
    training_missing_share: float
    unseen_share: float
    mean: float | None
    training_mean: float | None


class LabelDelay(msgspec.Struct, frozen=True):
    """Of labels that became known in the last 30 days of the data. silent_hours: from the newest label's time to the
    newest event's; None without a label."""

    labels: int
    median_hours: float | None
    p90_hours: float | None
    silent_hours: float | None


class Drift(msgspec.Struct, frozen=True):
    """One service. measured_at: µs wall clock. rows: predictions compared, at most ``drift.max_rows``; hours: of event
    time that they cover. enough: at least ``drift.min_rows`` over ``drift.window_hours``, else nothing is concluded of
    features and scores. findings: what is past its limit, in words, the worst first."""

    service: str
    model: str
    model_version: str
    measured_at: int
    hours: float
    rows: int
    training_rows: int
    enough: bool
    score_psi: float | None
    features: list[FeatureDrift]
    labels: LabelDelay
    findings: list[str]


def findings(
    features: Sequence[FeatureDrift], score_psi: float | None, labels: LabelDelay, enough: bool, limits: Limits
) -> list[str]:
    """What is past its limit. Features and scores count only when there are enough rows."""
    found: list[tuple[float, str]] = []
    for one in features if enough else ():
        if one.psi > max(limits.psi, 3 * one.psi_by_chance):
            moved = "" if one.mean is None else f", mean {one.mean:.4g} instead of {one.training_mean:.4g}"
            found.append((one.psi / limits.psi, f"{one.feature} is distributed otherwise (PSI {one.psi:.2f}{moved})"))
        more = one.missing_share - one.training_missing_share
        if more > limits.missing_share:
            was = f"{one.missing_share:.1%} of {one.feature} is missing, {one.training_missing_share:.1%} in training"
            found.append((more / limits.missing_share, was))
        if one.unseen_share > limits.unseen_share:
            told = f"{one.unseen_share:.1%} of {one.feature} are values that training has not seen"
            found.append((one.unseen_share / limits.unseen_share, told))
    if enough and score_psi is not None and score_psi > limits.psi:
        found.append((score_psi / limits.psi, f"scores are distributed otherwise (PSI {score_psi:.2f})"))
    if labels.silent_hours is not None and labels.silent_hours > limits.label_silence_hours:
        told = f"no label has come for {labels.silent_hours:.0f} hours of the data's time"
        found.append((labels.silent_hours / limits.label_silence_hours, told))
    return [words for _, words in sorted(found, key=lambda one: -one[0])]


def write(context: Context, drift: Drift) -> None:
    path = context.data("drift") / f"{drift.service}.json"
    temporary = path.with_suffix(".new")
    temporary.write_bytes(msgspec.json.encode(drift))
    temporary.rename(path)


def read(context: Context) -> list[Drift]:
    """Of every service that was compared."""
    folder = context.layout.data / "drift"
    return [msgspec.json.decode(path.read_bytes(), type=Drift) for path in sorted(folder.glob("*.json"))]


_FAMILIES = {
    "psi": "Population stability index of a feature as served against the training set.",
    "missing_share": "Share of missing values as served.",
    "unseen_share": "Share of served values that the training set has not seen.",
}


def prometheus(found: Sequence[Drift]) -> str:
    """In Prometheus' text format."""
    lines: list[str] = []
    for name, told in _FAMILIES.items():
        lines += _head(f"appliance_drift_{name}", told)
        lines += [
            f'appliance_drift_{name}{{service="{one.service}",feature="{each.feature}"}} {getattr(each, name)}'
            for one in found
            for each in one.features
        ]
    singles: dict[str, tuple[str, Callable[[Drift], float | None]]] = {
        "score_psi": ("Population stability index of the scores.", lambda one: one.score_psi),
        "rows": ("Predictions compared.", lambda one: one.rows),
        "findings": ("What is past its limit.", lambda one: len(one.findings)),
        "label_delay_median_hours": ("From an event to its label.", lambda one: one.labels.median_hours),
        "label_silent_hours": ("From the newest label to the newest event.", lambda one: one.labels.silent_hours),
        "measured_at_seconds": ("When it was compared.", lambda one: one.measured_at / 1e6),
    }
    for name, (told, value) in singles.items():
        lines += _head(f"appliance_drift_{name}", told)
        lines += [
            f'appliance_drift_{name}{{service="{one.service}"}} {number}'
            for one in found
            if (number := value(one)) is not None
        ]
    return "\n".join(lines) + "\n" if found else ""


def _head(name: str, told: str) -> Iterator[str]:
    yield f"# HELP {name} {told}"
    yield f"# TYPE {name} gauge"
