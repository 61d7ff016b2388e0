"""The records that pass between processes, each declared once, JSON on the wire.

Times are int64 microseconds since 1970-01-01 UTC. Positions are 32 hex digits (see ``appliance.position``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Value = str | int | float | bool | None
Way = Literal["http", "kafka", "cdc"]
Decision = Literal["approve", "review", "decline"]


class ChangeSource(msgspec.Struct, frozen=True, omit_defaults=True):
    """Debezium's ``source`` block, the fields we use.

    sequence: PostgreSQL's position; file, pos, row: that of MariaDB and MySQL (``appliance.position``).
    made_by: the process of ours that made the record, "" for the database's own; made_for: the mend it belongs to.
    """

    sequence: str | None = None
    ts_us: int = 0
    snapshot: str = "false"
    db: str = ""
    schema: str = ""
    table: str = ""
    file: str | None = None
    pos: int | None = None
    row: int | None = None
    made_by: str = ""
    made_for: str = ""


class Change(msgspec.Struct, frozen=True):
    """A captured change as Debezium writes it. op: c, u, d, r (snapshot), t (truncate); m is a marker of ours.

    appliance_base: where the connector's positions begin (``appliance.position``).
    """

    op: Literal["c", "u", "d", "r", "t", "m"]
    source: ChangeSource
    before: dict[str, Value] | None = None
    after: dict[str, Value] | None = None
    appliance_base: str = "0"


class Marker(msgspec.Struct, frozen=True):
    """Put by the ``marker`` process into every partition of every captured topic, in the shape of a Change.

    Says: every change of this source before ``position`` already stands earlier in this partition.
    """

    op: Literal["m"]
    source: ChangeSource
    channel: str
    position: str


class Edit(msgspec.Struct, frozen=True):
    """One edit of a view's log.

    sign: +1 adds a row, -1 takes it out, 0 is a marker (then only position, known_at and channel count).
    """

    sign: Literal[-1, 0, 1]
    position: str
    known_at: int
    entity: str = ""
    row_id: str = ""
    event_time: int = 0
    assumed: bool = False
    columns: dict[str, Value] = {}
    channel: str = ""


class FeatureValue(msgspec.Struct, frozen=True, gc=False):
    """A feature as served.

    value: a list for the last n values. status: present, null, missing (entity never seen: the value is an empty
    window's) or stale (present or null, but the position reached is older than the view's ttl). age_ms: of the position
    reached, null for request features.
    """

    value: Value | list[Value]
    status: Literal["present", "missing", "null", "stale"]
    age_ms: int | None = None


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A scoring request on Kafka. Its row's fields are those the service's plan names.

    max_staleness_ms: how old the features may be; an older view makes a dead letter of it. Null: any age.
    """

    request_id: str
    row: dict[str, Value]
    max_staleness_ms: int | None = None


class Prediction(msgspec.Struct, frozen=True):
    """One row of the ledger: enough to compute the score again."""

    prediction_id: str
    tenant: str
    service: str
    way: Way
    event_key: str
    source_position: str
    request_id: str
    app: str
    as_of: int
    row: dict[str, Value]
    features: dict[str, FeatureValue]
    cuts: dict[str, str]
    reached: dict[str, str]
    behind: bool
    score: float
    decision: Decision
    reason: str
    kind: str
    model: str
    model_version: str
    definition_hash: str
    committed_at: int
    scored_at: int
    spent_us: dict[str, int]


class Alert(msgspec.Struct, frozen=True):
    """A prediction somebody should look at. alert_id is the same for every way and retry of one event."""

    alert_id: str
    prediction: Prediction


class Feedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What somebody says of one event. The same feedback_id again says nothing new.

    event_key or prediction_id names the event. label: 1 the thing that is looked for, 0 not, null takes back what the
    same kind of source said before. known_at: since when it is known, µs UTC. way: console (a person), http (an app),
    kafka; which one counts more: ``models.feedback.settle``. said_by: the person or app.
    """

    feedback_id: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    service: str
    label: Literal[0, 1] | None
    known_at: Annotated[int, msgspec.Meta(ge=0)]
    event_key: Annotated[str, msgspec.Meta(max_length=200)] = ""
    prediction_id: Annotated[str, msgspec.Meta(max_length=200)] = ""
    way: Literal["console", "http", "kafka"] = "kafka"
    said_by: Annotated[str, msgspec.Meta(max_length=200)] = ""
    note: Annotated[str, msgspec.Meta(max_length=1000)] = ""

    def __post_init__(self) -> None:
        if not self.event_key and not self.prediction_id:
            raise ValueError("it names neither an event_key nor a prediction_id")


class ShadowScore(msgspec.Struct, frozen=True):
    """What a version in shadow and the champion say of a prediction's very features. Times are µs UTC.

    champion_score: what was answered, where the champion answered it; else it was asked again.
    """

    prediction_id: str
    service: str
    event_key: str
    way: Way
    as_of: int
    model: str
    version: str
    score: float
    champion_version: str
    champion_score: float
    predicted_at: int
    scored_at: int


class DeadLetter(msgspec.Struct, frozen=True):
    """A record that could not be used, with everything needed to look at it and to send it again."""

    reader: str
    topic: str
    partition: int
    offset: int
    code: str
    message: str
    payload_base64: str
    at: int
