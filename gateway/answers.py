"""What the API answers about services and predictions, for the gateway and for its clients: msgspec, nothing else."""

from __future__ import annotations

import msgspec

from appliance.records import Decision, FeatureValue


class Scored(msgspec.Struct, frozen=True):
    """One row's prediction. as_of: ISO 8601 UTC. cuts: view → position of the change log that was read up to."""

    prediction_id: str
    event_key: str
    as_of: str
    score: float
    decision: Decision
    reason: str
    kind: str
    features: dict[str, FeatureValue]
    cuts: dict[str, str]


class PredictAnswer(msgspec.Struct, frozen=True):
    """repeated: this request id was answered before, and this is that answer.

    spent_us: where ``explain_time`` was asked for, how long each step took, µs, in their order; else empty.
    """

    service: str
    request_id: str
    model: str
    model_version: str
    repeated: bool
    predictions: list[Scored]
    spent_us: dict[str, int] = {}


class FieldView(msgspec.Struct, frozen=True):
    """scale: digits after the point of a decimal. required: false for the event time (then the clock speaks)."""

    name: str
    type: str
    scale: int
    required: bool


class FeatureWords(msgspec.Struct, frozen=True):
    name: str
    words: str


class ServiceView(msgspec.Struct, frozen=True):
    """rows: what its rows are called.

    row: what a request's row has. features: the model's inputs in order. review, decline: thresholds of the score.

    entities: entity → the row fields that name it.
    """

    name: str
    model: str
    rows: str
    row: list[FieldView]
    event_key: str
    event_time: str
    entities: dict[str, list[str]]
    features: list[FeatureWords]
    review: float
    decline: float
    daily_review_capacity: int
    definition_hash: str


class EntityFeatures(msgspec.Struct, frozen=True):
    """The windowed features of one entity as of a time. cut: position of the change log read up to, "" if none."""

    service: str
    entity: dict[str, str]
    as_of: str
    features: dict[str, FeatureValue]
