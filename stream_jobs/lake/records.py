"""What passes from a topic to a table: records as read, and batches of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class Mark:
    """What a marker says: every change up to ``position`` stands before it. known_at: commit time there, µs."""

    position: str
    known_at: int


@dataclass(frozen=True)
class Decoded:
    """rows: batches in the schema of the table, in the order of the records. broken: the records left out.

    marks: partition → the last marker among the records.
    """

    rows: list[pa.RecordBatch]
    broken: list[Broken]
    marks: Mapping[int, Mark] = field(default_factory=dict)
