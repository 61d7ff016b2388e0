"""What moved an alert's score, as it stands in the alert."""

from __future__ import annotations

import msgspec


class Contribution(msgspec.Struct, frozen=True):
    """moved: by how much the feature's value moved the score from the base. standard_error: of that, by sampling."""

    feature: str
    moved: float
    standard_error: float


class Explanation(msgspec.Struct, frozen=True):
    """base: mean score of ``background_rows`` rows of the training set; base + all that is moved = score, but for
    ``gap``. contributions: the largest first. in_words: the largest in sentences. evaluations: rows the model was asked
    for. reason: why there is no explanation, "" if there is one."""

    reason: str = ""
    method: str = ""
    base: float | None = None
    gap: float | None = None
    contributions: list[Contribution] = []
    in_words: list[str] = []
    background_rows: int = 0
    evaluations: int = 0
    spent_ms: float = 0.0
