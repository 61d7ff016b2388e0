"""What ``sample load`` leaves behind for ``sample replay``: folder ``data/sample``.

``state.json`` says what was loaded; ``<n>.parquet`` holds the rows of stream ``n`` that are still to come, in order.
``position`` holds the number of events committed by replay, as far as it was noted; the database knows exactly.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from appliance.parts.base import Context
from stream_jobs.errors import SampleError


class StreamState(msgspec.Struct, frozen=True):
    """A stream's names, and its number of rows in the history and to come."""

    table: str
    key: str
    time: str
    history: int
    remaining: int


class State(msgspec.Struct, frozen=True):
    """fingerprint: of the data. origin: profile or file, for people. until_us: end of the history, µs UTC."""

    fingerprint: str
    origin: str
    until_us: int
    streams: tuple[StreamState, ...]

    @property
    def remaining(self) -> int:
        return sum(stream.remaining for stream in self.streams)


def folder(context: Context) -> Path:
    return context.data("sample")


def _replace(path: Path, raw: bytes) -> None:
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(raw)
    temporary.rename(path)


def write(context: Context, state: State, remaining: list[pa.Table]) -> None:
    """Store the rows to come, then the state, which makes them count."""
    place = folder(context)
    for old in ("state.json", "position"):
        (place / old).unlink(missing_ok=True)
    for number, rows in enumerate(remaining):
        pq.write_table(rows, place / f"{number}.parquet")
    _replace(place / "state.json", msgspec.json.format(msgspec.json.encode(state), indent=1))


def read(context: Context) -> State | None:
    """None when nothing has been loaded."""
    path = folder(context) / "state.json"
    return msgspec.json.decode(path.read_bytes(), type=State) if path.exists() else None


def loaded(context: Context) -> State:
    """Raises SampleError when nothing has been loaded."""
    state = read(context)
    if state is None:
        raise SampleError("sample.not_loaded", "no sample data are loaded", hint="appliance sample load")
    return state


def rows(context: Context, number: int) -> pa.Table:
    """Rows to come of stream ``number``."""
    return pq.read_table(folder(context) / f"{number}.parquet")


def position(context: Context) -> int:
    """A number of events that are committed for certain (more may be)."""
    path = folder(context) / "position"
    return int(path.read_text()) if path.exists() else 0


def note_position(context: Context, number: int) -> None:
    _replace(folder(context) / "position", str(number).encode())
