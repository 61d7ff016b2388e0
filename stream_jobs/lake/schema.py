"""Arrow schemas of the lake's tables, made from the plan.

A change table has these columns, then each captured column twice, ``before_<column>`` and ``after_<column>``:

- ``op``: c, u, d, r (snapshot) or t (truncate); ``position``: 32 hex digits, grows in commit order;
- ``known_at``: commit time, for a snapshot row its event time; ``assumed``: true for snapshot rows;
- ``partition``, ``offset``: where the record stands in its topic;
- ``commit_date``: UTC day of the commit, for a snapshot row of its capture. The partition column.
"""

from __future__ import annotations

import pyarrow as pa

from stream_jobs.plan import CapturedTable, Column

TIMESTAMP = pa.timestamp("us", tz="UTC")
PARTITION = "commit_date"

_META = (
    ("op", pa.string()),
    ("position", pa.string()),
    ("known_at", TIMESTAMP),
    ("assumed", pa.bool_()),
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    (PARTITION, pa.date32()),
)

LEDGER_PARTITION = "scored_date"

LEDGER = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("tenant", pa.string()),
        ("service", pa.string()),
        ("way", pa.string()),
        ("event_key", pa.string()),
        ("source_position", pa.string()),
        ("request_id", pa.string()),
        ("app", pa.string()),
        ("as_of", TIMESTAMP),
        ("row", pa.string()),
        ("features", pa.string()),
        ("cuts", pa.string()),
        ("reached", pa.string()),
        ("behind", pa.bool_()),
        ("score", pa.float64()),
        ("decision", pa.string()),
        ("reason", pa.string()),
        ("kind", pa.string()),
        ("model", pa.string()),
        ("model_version", pa.string()),
        ("definition_hash", pa.string()),
        ("committed_at", TIMESTAMP),
        ("scored_at", TIMESTAMP),
        ("spent_us", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        (LEDGER_PARTITION, pa.date32()),
    ]
)
"""``Prediction``, a column a field; row, features, cuts, reached and spent_us are JSON text."""


def arrow_type(column: Column) -> pa.DataType:
    """The lake's type of a captured column."""
    match column.type:
        case "int64":
            return pa.int64()
        case "decimal":
            return pa.decimal128(38, column.scale)
        case "float64":
            return pa.float64()
        case "string":
            return pa.string()
        case "bool":
            return pa.bool_()
        case "timestamp_us":
            return TIMESTAMP


def changes(table: CapturedTable) -> pa.Schema:
    """Schema of the change table of a captured table."""
    images = [
        (f"{image}_{column.name}", arrow_type(column)) for image in ("before", "after") for column in table.columns
    ]
    return pa.schema([*_META, *images])


def state(table: CapturedTable) -> pa.Schema:
    """Schema of the current-state table: the row, with the position and time of the change that made it so."""
    columns = [(column.name, arrow_type(column)) for column in table.columns]
    return pa.schema([("position", pa.string()), ("known_at", TIMESTAMP), ("assumed", pa.bool_()), *columns])


FEEDBACK_PARTITION = "known_date"

FEEDBACK = pa.schema(
    [
        ("feedback_id", pa.string()),
        ("service", pa.string()),
        ("label", pa.int8()),
        ("known_at", TIMESTAMP),
        ("event_key", pa.string()),
        ("prediction_id", pa.string()),
        ("way", pa.string()),
        ("said_by", pa.string()),
        ("note", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        (FEEDBACK_PARTITION, pa.date32()),
    ]
)
"""``Feedback``, a column a field."""

SHADOW_PARTITION = "predicted_date"

SHADOW = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("service", pa.string()),
        ("event_key", pa.string()),
        ("way", pa.string()),
        ("as_of", TIMESTAMP),
        ("model", pa.string()),
        ("version", pa.string()),
        ("score", pa.float64()),
        ("champion_version", pa.string()),
        ("champion_score", pa.float64()),
        ("predicted_at", TIMESTAMP),
        ("scored_at", TIMESTAMP),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        (SHADOW_PARTITION, pa.date32()),
    ]
)
"""``ShadowScore``, a column a field. Delivery is at least once: a prediction may have several rows of one version."""
