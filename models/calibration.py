"""The calibration that is part of a model, as recorded."""

from __future__ import annotations

import msgspec


class Calibration(msgspec.Struct, frozen=True):
    """probability = sigmoid(slope * logit + offset)."""

    slope: float
    offset: float
