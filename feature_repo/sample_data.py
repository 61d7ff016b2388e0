"""What a scenario's sample data are made of. The engine that loads and replays them knows no scenario."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa


@dataclass(frozen=True)
class Stream:
    """Rows that the business commits over time.

    table: ``schema.table``. key: its integer primary key column. time: its time column, timestamp[us, UTC].
    rows: in any order. At equal times rows are committed in the order of the streams, within a stream by key.
    """

    table: str
    key: str
    time: str
    rows: pa.Table


@dataclass(frozen=True)
class Sample:
    """static: ``schema.table`` → rows that are there from the start. streams: in order of precedence at equal times.

    clock_table: the stream whose last row ends the history by default (the business's own events).
    """

    static: Mapping[str, pa.Table]
    streams: tuple[Stream, ...]
    clock_table: str


@dataclass(frozen=True)
class SampleSource:
    """A scenario's sample: ``SAMPLE`` of the module ``feature_repo.<scenario>.sample``.

    schema_sql: file that creates the tables, safe to run twice. profiles: name → what makes a sample of that size,
    always the same. from_file: makes one of a Parquet file; raises ApplianceError naming every column that does not
    fit. version: raised when a profile's rows change.
    """

    version: int
    schema_sql: Path
    profiles: Mapping[str, Callable[[], Sample]]
    from_file: Callable[[Path], Sample]
