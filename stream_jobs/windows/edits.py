"""Edits as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance import position as positions
from appliance.records import Edit
from stream_jobs.plan import Column
from stream_jobs.windows.values import exact, row_number

_DTYPES: Mapping[str, Any] = {
    "int64": np.int64, "decimal": np.int64, "timestamp_us": np.int64,
    "float64": np.float64, "bool": np.bool_, "string": np.object_,
}  # fmt: skip


@dataclass(frozen=True)
class Series:
    """A column in exact form: values [n] and valid [n] bool; valid None means that no value is null."""

    values: NDArray[Any]
    valid: NDArray[np.bool_] | None


@dataclass(frozen=True)
class EditBatch:
    """n edits of one view, of one or many entities; every array is [n].

    sign: int8, +1 or -1. row_id: int64 keys; equal keys are equal ids, and their order is the ids' order.
    high, low: uint64, the two halves of the position. event_time: int64 µs. columns: name → Series.
    """

    sign: NDArray[np.int8]
    row_id: NDArray[np.int64]
    high: NDArray[np.uint64]
    low: NDArray[np.uint64]
    event_time: NDArray[np.int64]
    columns: Mapping[str, Series]

    def __len__(self) -> int:
        return len(self.sign)


def halves(position: str) -> tuple[int, int]:
    """A position's two halves as unsigned 64-bit integers. Raises ValueError unless it has 32 hex digits."""
    raw = positions.pack(position)
    return int.from_bytes(raw[:8]), int.from_bytes(raw[8:])


def row_keys(ids: Sequence[str], integer: bool) -> NDArray[np.int64]:
    """int64 keys of row ids [n]: the ids themselves, or the ranks of texts in code point order.

    Raises EditError if ``integer`` and one of them is not the text of an int64.
    """
    if integer:
        return np.array([row_number(text) for text in ids], np.int64)
    return np.unique(np.array(ids, object), return_inverse=True)[1].astype(np.int64)


def series(column: Column, values: Sequence[Any]) -> Series:
    """A column of exact values [n], None for null."""
    dtype = _DTYPES[column.type]
    valid = np.array([value is not None for value in values], np.bool_)
    fill: Any = "" if column.type == "string" else 0
    array = np.array([fill if value is None else value for value in values], dtype)
    return Series(array, None if valid.all() else valid)


def batch(columns: Sequence[Column], edits: Sequence[Edit], integer_ids: bool) -> EditBatch:
    """Edits (sign +1 or -1) as columns; integer_ids: the view's row ids are int64.

    Raises EditError for a value that does not fit its column.
    """
    places = [halves(edit.position) for edit in edits]
    return EditBatch(
        sign=np.array([edit.sign for edit in edits], np.int8),
        row_id=row_keys([edit.row_id for edit in edits], integer_ids),
        high=np.array([high for high, _ in places], np.uint64),
        low=np.array([low for _, low in places], np.uint64),
        event_time=np.array([edit.event_time for edit in edits], np.int64),
        columns={c.name: series(c, [exact(c, edit.columns.get(c.name)) for edit in edits]) for c in columns},
    )
