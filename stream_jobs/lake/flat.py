"""Records whose fields are columns as they are (feedback, shadow scores) → rows of a Delta table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pyarrow as pa

from appliance.records import Feedback, ShadowScore
from stream_jobs.errors import BrokenRecordError
from stream_jobs.lake.records import Broken, Decoded, Raw

_DAY_US = 86_400_000_000
_LAST_DAY = 2_932_896
"""9999-12-31, the last day that every reader of Delta tables knows."""
_META = ("partition", "offset")


class FlatDecoder:
    """Decodes the records of one service. dated_by: the field whose UTC day is the last column, the partition."""

    def __init__(
        self, kind: type[Feedback] | type[ShadowScore], service: str, columns: pa.Schema, dated_by: str
    ) -> None:
        self._what = kind.__name__
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)
        self._service, self._columns, self._dated_by = service, columns, dated_by

    def decode(self, records: Iterable[Raw]) -> Decoded:
        """Rows in the table's schema, one a record."""
        found: list[tuple[Raw, Any]] = []
        broken: list[Broken] = []
        for raw in records:
            if raw.value is None:
                continue
            try:
                found.append((raw, self._usable(raw.value)))
            except (msgspec.DecodeError, ValueError) as error:
                reason = f"record {raw.offset} of {raw.topic}/{raw.partition} is no {self._what}: {error}"
                broken.append(Broken(raw, BrokenRecordError(f"lake.broken_{self._what.lower()}", reason)))
        return Decoded([self._batch(found)] if found else [], broken)

    def _usable(self, value: bytes) -> Any:
        record = self._decoder.decode(value)
        if record.service != self._service:
            raise ValueError(f"it is of service {record.service!r}, expected {self._service!r}")
        if getattr(record, self._dated_by) // _DAY_US > _LAST_DAY:
            raise ValueError(f"{self._dated_by} is after the year 9999: it is in µs")
        return record

    def _batch(self, found: list[tuple[Raw, Any]]) -> pa.RecordBatch:
        *fields, day = self._columns
        columns = []
        for field in fields:
            whose = 0 if field.name in _META else 1
            columns.append(pa.array([getattr(pair[whose], field.name) for pair in found], field.type))
        days = pa.array([getattr(record, self._dated_by) // _DAY_US for _, record in found], pa.int32())
        return pa.RecordBatch.from_arrays([*columns, days.cast(day.type)], schema=self._columns)
