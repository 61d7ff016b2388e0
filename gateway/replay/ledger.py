"""Rows of the ledger in the lake → predictions, as they were logged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import msgspec

from appliance.records import Prediction
from stream_jobs.lake.ledger import JSON_COLUMNS
from stream_jobs.lake.reading import literal

_TIMES = ("as_of", "committed_at", "scored_at")
COLUMNS = ", ".join(
    f"epoch_us({name}) AS {name}" if name in _TIMES else f'"{name}"' for name in Prediction.__struct_fields__
)
"""What a SELECT of predictions names."""


def by_id(ledger: str, ids: Sequence[str]) -> str:
    """SELECT of the predictions with these ids. Ids grow with time: only files that may hold one are read."""
    listed = ", ".join(literal(one) for one in ids)
    return f"SELECT {COLUMNS} FROM {ledger} WHERE prediction_id IN ({listed})"


def blocks(connection: duckdb.DuckDBPyConnection, selected: str, rows: int) -> Iterator[list[Prediction]]:
    """The predictions of a SELECT of ``COLUMNS``, ``rows`` at a time, those of one definition and model together."""
    ordered = f"SELECT * FROM ({selected}) ORDER BY definition_hash, model, model_version, prediction_id"
    for batch in connection.sql(ordered).to_arrow_reader(rows):
        yield [_prediction(row) for row in batch.to_pylist()]


def _prediction(row: dict[str, Any]) -> Prediction:
    for name in JSON_COLUMNS:
        row[name] = msgspec.json.decode(row[name])
    return msgspec.convert(row, Prediction)
