"""Debezium's JSON → columns of a change table.

Wire shapes (``decimal.handling.mode=string``, ``time.precision.mode=microseconds``, no schemas):
numeric = text, timestamptz = ISO 8601 text, timestamp = int64 µs on the source's wall clock (``time_zone``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from appliance import position
from appliance.records import ChangeSource
from stream_jobs.errors import BrokenRecordError
from stream_jobs.lake import schema
from stream_jobs.lake.records import Broken, Decoded, Mark, Raw
from stream_jobs.plan import CapturedTable, Column

_WIRE: dict[str, Any] = {
    "int64": int | None,
    "decimal": str | None,
    "float64": float | None,
    "string": str | None,
    "bool": bool | None,
    "timestamp_us": str | int | None,
}
_OPS = frozenset("cudrt")
_DAY_US = 86_400_000_000
_UNFIT = (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError, UnicodeDecodeError)


def _row_type(columns: Sequence[Column]) -> Any:
    fields = [(f"c{i}", _WIRE[column.type], None) for i, column in enumerate(columns)]
    return msgspec.defstruct("Row", fields, rename={f"c{i}": c.name for i, c in enumerate(columns)}, gc=False)


class ChangeDecoder:
    """Decodes the records of one captured table."""

    def __init__(self, table: CapturedTable, time_zone: str) -> None:
        self._table, self._time_zone = table, time_zone
        self._schema = schema.changes(table)
        self._empty = _row_type(table.columns)
        image = self._empty | None
        fields: list[Any] = [
            ("op", str),
            ("source", ChangeSource),
            ("before", image, None),
            ("after", image, None),
            ("appliance_base", str, "0"),
            ("position", str, ""),
        ]
        change: Any = msgspec.defstruct("TableChange", fields, gc=False)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(change)

    def decode(self, records: Iterable[Raw]) -> Decoded:
        """Rows of the records that are changes, and the last marker (op m) of each partition."""
        raws: list[Raw] = []
        changes: list[Any] = []
        positions: list[str] = []
        broken: list[Broken] = []
        marks: dict[int, Mark] = {}
        for raw in records:
            if raw.value is None:
                continue
            try:
                change = self._decoder.decode(raw.value)
                if change.op == "m":
                    if change.position:
                        marks[raw.partition] = Mark(change.position, change.source.ts_us)
                    continue
                self._check(change)
                positions.append(position.of(change.source, change.appliance_base))
            except (msgspec.DecodeError, ValueError, TypeError) as error:
                reason = (
                    f"record {raw.offset} of {raw.topic}/{raw.partition} is no change of {self._table.table}: {error}"
                )
                broken.append(Broken(raw, BrokenRecordError("lake.broken_change", reason)))
                continue
            raws.append(raw)
            changes.append(change)
        return Decoded(list(self._batches(raws, changes, positions, broken)), broken, marks)

    def _check(self, change: Any) -> None:
        if change.op not in _OPS:
            raise ValueError(f"op is {change.op!r}, expected one of c, u, d, r, t, m")
        image = "before" if change.op == "d" else "after"
        if change.op != "t" and getattr(change, image) is None:
            raise ValueError(f"op {change.op} has no {image!r} image")
        if change.source.ts_us <= 0:
            raise ValueError("source.ts_us (commit time, µs) is missing")

    def _batches(
        self, raws: list[Raw], changes: list[Any], positions: list[str], broken: list[Broken]
    ) -> Iterable[pa.RecordBatch]:
        """Batches of the rows; a value that does not fit its column is found by halving, its record left out."""
        if not raws:
            return
        try:
            yield self._batch(raws, changes, positions)
            return
        except _UNFIT as error:
            if len(raws) == 1:
                raw = raws[0]
                reason = f"record {raw.offset} of {raw.topic}/{raw.partition} does not fit {self._table.table}: {error}"
                broken.append(Broken(raw, BrokenRecordError("lake.broken_value", reason)))
                return
        middle = len(raws) // 2
        yield from self._batches(raws[:middle], changes[:middle], positions[:middle], broken)
        yield from self._batches(raws[middle:], changes[middle:], positions[middle:], broken)

    def _batch(self, raws: list[Raw], changes: list[Any], positions: list[str]) -> pa.RecordBatch:
        images = {name: self._image([getattr(change, name) for change in changes]) for name in ("before", "after")}
        captured = pa.array([change.source.ts_us for change in changes], pa.int64())
        assumed = pa.array([change.op == "r" for change in changes], pa.bool_())
        columns = {
            "op": pa.array([change.op for change in changes], pa.string()),
            "position": pa.array(positions, pa.string()),
            "known_at": self._known_at(captured, assumed, images["after"]),
            "assumed": assumed,
            "partition": pa.array([raw.partition for raw in raws], pa.int32()),
            "offset": pa.array([raw.offset for raw in raws], pa.int64()),
            schema.PARTITION: pc.divide(captured, _DAY_US).cast(pa.int32()).cast(pa.date32()),
        }
        for name, values in images.items():
            for column, array in zip(self._table.columns, values, strict=True):
                columns[f"{name}_{column.name}"] = array
        return pa.RecordBatch.from_arrays([columns[field.name] for field in self._schema], schema=self._schema)

    def _known_at(self, captured: pa.Array, assumed: pa.Array, after: list[pa.Array]) -> pa.Array:
        """Commit time; of a snapshot row its event time (its capture time if the table or the row has none)."""
        times = captured.cast(schema.TIMESTAMP)
        for column, array in zip(self._table.columns, after, strict=True):
            if column.name == self._table.event_time:
                return pc.if_else(pc.and_(assumed, pc.is_valid(array)), array, times)
        return times

    def _image(self, rows: list[Any]) -> list[pa.Array]:
        """The columns of one image, [number of rows] each."""
        empty = self._empty()
        filled = [empty if row is None else row for row in rows]
        return [
            self._array(column, [getattr(row, f"c{i}") for row in filled])
            for i, column in enumerate(self._table.columns)
        ]

    def _array(self, column: Column, values: list[Any]) -> pa.Array:
        if column.type == "decimal":
            return pa.array(values, pa.string()).cast(schema.arrow_type(column))
        if column.type != "timestamp_us":
            return pa.array(values, schema.arrow_type(column))
        if any(isinstance(value, str) for value in values):
            return pa.array(values, pa.string()).cast(schema.TIMESTAMP)
        local = pa.array(values, pa.int64()).cast(pa.timestamp("us"))
        return pc.assume_timezone(local, self._time_zone, ambiguous="earliest", nonexistent="latest").cast(
            schema.TIMESTAMP
        )
