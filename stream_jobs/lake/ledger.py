"""Predictions (Kafka) → rows of the ledger."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable

from appliance.records import Prediction
from stream_jobs.errors import BrokenRecordError
from stream_jobs.lake import schema
from stream_jobs.lake.records import Broken, Decoded, Raw

_DAY_US = 86_400_000_000
JSON_COLUMNS = frozenset({"row", "features", "cuts", "reached", "spent_us"})
"""Columns of the ledger that are JSON text."""
_FIELDS = [field for field in schema.LEDGER if field.name in Prediction.__struct_fields__]


class LedgerDecoder:
    """Decodes the predictions of one service."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._decoder = msgspec.json.Decoder(Prediction)

    def decode(self, records: Iterable[Raw]) -> Decoded:
        """Rows in the ledger's schema, one a record."""
        raws: list[Raw] = []
        predictions: list[Prediction] = []
        broken: list[Broken] = []
        for raw in records:
            if raw.value is None:
                continue
            try:
                prediction = self._decoder.decode(raw.value)
                if prediction.service != self._service:
                    raise ValueError(f"it is of service {prediction.service!r}, expected {self._service!r}")
            except (msgspec.DecodeError, ValueError) as error:
                reason = f"record {raw.offset} of {raw.topic}/{raw.partition} is no prediction: {error}"
                broken.append(Broken(raw, BrokenRecordError("lake.broken_prediction", reason)))
                continue
            raws.append(raw)
            predictions.append(prediction)
        return Decoded([_batch(raws, predictions)] if raws else [], broken)


def _batch(raws: list[Raw], predictions: list[Prediction]) -> pa.RecordBatch:
    columns: dict[str, Any] = {}
    for field in _FIELDS:
        values: list[Any] = [getattr(prediction, field.name) for prediction in predictions]
        if field.name in JSON_COLUMNS:
            values = [msgspec.json.encode(value).decode() for value in values]
        columns[field.name] = pa.array(values, field.type)
    columns["partition"] = pa.array([raw.partition for raw in raws], pa.int32())
    columns["offset"] = pa.array([raw.offset for raw in raws], pa.int64())
    scored = pa.array([prediction.scored_at // _DAY_US for prediction in predictions], pa.int32())
    columns[schema.LEDGER_PARTITION] = scored.cast(pa.date32())
    return pa.RecordBatch.from_arrays([columns[field.name] for field in schema.LEDGER], schema=schema.LEDGER)


def without_repeats(table: DeltaTable, batches: list[pa.RecordBatch]) -> list[pa.RecordBatch]:
    """The batches less the predictions whose id the ledger, or an earlier row of them, already has.

    Ids are UUIDv7 and so grow with time: only files whose range of ids meets the batches' are read.
    """
    rows = pa.Table.from_batches(batches, schema.LEDGER)
    ids = rows["prediction_id"]
    stored = _stored(table, ids)
    seen: set[str] = set()
    keep: list[bool] = []
    for prediction_id in ids.to_pylist():
        keep.append(prediction_id not in stored and prediction_id not in seen)
        seen.add(prediction_id)
    if all(keep):
        return batches
    filtered: list[pa.RecordBatch] = rows.filter(pa.array(keep)).to_batches()
    return filtered


def _stored(table: DeltaTable, ids: pa.ChunkedArray) -> set[str]:
    """Those of the ids that the ledger has."""
    first, last = pc.min(ids).as_py(), pc.max(ids).as_py()
    actions = pa.table(table.get_add_actions(flatten=True))
    if actions.num_rows == 0 or "min.prediction_id" not in actions.column_names:
        return set()
    # A maximum may be missing or cut short in the statistics: such a file is read.
    files = [
        f"{table.table_uri.removeprefix('file://').rstrip('/')}/{path}"
        for path, low, high in zip(
            actions["path"].to_pylist(),
            actions["min.prediction_id"].to_pylist(),
            actions["max.prediction_id"].to_pylist(),
            strict=True,
        )
        if low is None or high is None or (low <= last and high >= first)
    ]
    if not files:
        return set()
    with duckdb.connect(config={"threads": 1, "memory_limit": "128MB"}) as connection:
        connection.register("wanted", pa.table({"id": ids}))
        found = connection.execute(
            "SELECT prediction_id FROM read_parquet(?) WHERE prediction_id BETWEEN ? AND ?"
            " AND prediction_id IN (SELECT id FROM wanted)",
            [files, first, last],
        ).fetchall()
    return {row[0] for row in found}
