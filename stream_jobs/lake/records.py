"""What passes from a topic to a table: records as read, and batches of rows."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pyarrow as pa

from stream_jobs.errors import BrokenRecordError


class Raw(msgspec.Struct, frozen=True, gc=False):
    """A record as read from Kafka; value None is a tombstone."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


@dataclass(frozen=True)
class Broken:
    """A record that could not be used, and why."""

    raw: Raw
    error: BrokenRecordError


@dataclass(frozen=True)
class Decoded:
    """rows: batches in the schema of the table, in the order of the records. broken: the records left out."""

    rows: list[pa.RecordBatch]
    broken: list[Broken]
