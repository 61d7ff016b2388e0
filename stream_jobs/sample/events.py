"""The order in which a business commits: rows of several tables merged by time, then table, then key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.sample_data import Stream

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Event:
    """One row to commit. stream: number of its table. time_us: µs UTC. values: of its columns, in order."""

    stream: int
    time_us: int
    key: int
    values: tuple[Any, ...]


def times(rows: pa.Table, column: str) -> Ints:
    """A time column as µs UTC."""
    numbers: Ints = rows[column].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return numbers


def split(stream: Stream, until_us: int) -> tuple[pa.Table, pa.Table]:
    """Rows before ``until_us`` and rows from it on, each in the order of time and key."""
    ordered = stream.rows.take(pc.sort_indices(stream.rows, [(stream.time, "ascending"), (stream.key, "ascending")]))
    first = int(np.searchsorted(times(ordered, stream.time), until_us, side="left"))
    return ordered.slice(0, first), ordered.slice(first)


class EventLog:
    """The events of several streams in the order of (time, stream, key); each stream's rows are in order already."""

    def __init__(self, streams: list[tuple[str, str, pa.Table]]) -> None:
        """``streams``: key column, time column, rows."""
        self._tables = [rows for _, _, rows in streams]
        self._keys = [rows[key].to_numpy() for key, _, rows in streams]
        all_times = [times(rows, time) for _, time, rows in streams]
        stream = np.concatenate([np.full(len(each), number) for number, each in enumerate(all_times)])
        row = np.concatenate([np.arange(len(each)) for each in all_times])
        merged = np.concatenate(all_times)
        order = np.lexsort((row, stream, merged))
        self._stream, self._row, self.time_us = stream[order], row[order], merged[order]

    def __len__(self) -> int:
        return len(self.time_us)

    def keys(self, first: int, last: int) -> list[Ints]:
        """For each stream the keys of its events ``first`` ≤ number < ``last``, in order."""
        chosen, row = self._stream[first:last], self._row[first:last]
        return [keys[row[chosen == number]] for number, keys in enumerate(self._keys)]

    def streams(self, first: int, last: int) -> Ints:
        """The stream of each event."""
        numbers: Ints = self._stream[first:last]
        return numbers

    def events(self, first: int, last: int) -> Iterator[Event]:
        """The events ``first`` ≤ number < ``last``."""
        chosen, row = self._stream[first:last], self._row[first:last]
        values = []
        for number, table in enumerate(self._tables):
            mine = row[chosen == number]
            part = table.slice(mine[0], len(mine)) if len(mine) else table.slice(0, 0)
            values.append(zip(*(column.to_pylist() for column in part.columns), strict=True))
        for stream, time_us, at in zip(chosen.tolist(), self.time_us[first:last].tolist(), row.tolist(), strict=True):
            yield Event(stream, time_us, int(self._keys[stream][at]), next(values[stream]))
