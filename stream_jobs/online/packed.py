"""Packed edits: the bytes in Redis that hold one entity's recent log. Layout version 1, little-endian.

    header (40 bytes)  b"E" · layout version u8 · flags u8 (bit 0: compacted) · 0 u8 · base count u32
                       · folded-to position 2 x u64 · rows removed up to event time i64 · removed rows i64
    records            one after the other; appended by the writer, never changed in place

A record is ``sign i8 · flags u8 (bit 0: assumed) · nulls u8/u16/u32/u64 (bit i: column i is null) · position 2 x u64 ·
known_at i64 · event_time i64 · row id i64 · columns`` (int64, scaled decimal and timestamp i64, float64 f64, bool u8).
When the view's primary key is not an integer, or a column is text, records end in a tail: the fixed part begins with
the tail's length (u32), the row id and each text column hold their length in bytes (u32), and the tail holds their
UTF-8 bytes in order. Ids are kept whole, so no two of them can be taken for one.

Compaction (``compact.py``) rewrites the log as ``base count`` records and says in the header what a read can still be
answered from: cuts ≥ folded-to, windows that begin at or after the removed event time. A record after the base whose
position is ≤ folded-to is a repeated delivery of what was compacted, and is dropped when read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from appliance.records import Edit
from stream_jobs.errors import EditError, PackedError
from stream_jobs.plan import Column, Plan, View
from stream_jobs.windows.edits import EditBatch, Series, halves, row_keys
from stream_jobs.windows.fold import up_to
from stream_jobs.windows.values import INT64_MAX, INT64_MIN, exact, row_number

_HEADER = struct.Struct("<cBBxIQQqq")
_TAIL = struct.Struct("<I")
_VERSION = 1
_DENSE_VERSION = 2
_COMPACTED = 1
_ASSUMED = 1
_FORMATS = {"int64": "q", "decimal": "q", "timestamp_us": "q", "float64": "d", "bool": "?", "string": "I"}
_MAX_COLUMNS = 64

NO_TIME = INT64_MIN
"""``Header.removed_to`` when no row was removed."""


@dataclass(frozen=True)
class Header:
    """folded_to: position halves; (0, 0) when never compacted. removed_to: event time, µs. base: records compacted."""

    base: int = 0
    folded_to: tuple[int, int] = (0, 0)
    removed_to: int = NO_TIME
    removed: int = 0

    @property
    def compacted(self) -> bool:
        return self.folded_to != (0, 0)

    def encode(self, dense: bool = False) -> bytes:
        flags = _COMPACTED if self.compacted else 0
        return _HEADER.pack(
            b"E",
            _DENSE_VERSION if dense else _VERSION,
            flags,
            self.base,
            *self.folded_to,
            self.removed_to,
            self.removed,
        )

    def exact_at(self, cut: tuple[int, int], window_begin: int) -> bool:
        """Whether a read at ``cut`` of rows with event time > ``window_begin`` needs nothing that was taken out."""
        return cut >= self.folded_to and window_begin >= self.removed_to


EMPTY = Header().encode()
HEADER_BYTES = _HEADER.size


def header(raw: bytes) -> Header:
    """The header of an entity's bytes. Raises PackedError when they are not in this layout."""
    return _header(raw, _VERSION)


def is_dense(raw: bytes) -> bool:
    """Whether an entity's bytes are those of a dense one (``dense``)."""
    return raw[:2] == b"E\x02"


def dense_header(raw: bytes) -> Header:
    """The header of a dense entity's bytes."""
    return _header(raw, _DENSE_VERSION)


def _header(raw: bytes, wanted: int) -> Header:
    if len(raw) < HEADER_BYTES:
        raise PackedError("packed.short", f"an entity's bytes have a header of {HEADER_BYTES} bytes, got {len(raw)}")
    magic, version, _, base, high, low, removed_to, removed = _HEADER.unpack_from(raw)
    if magic != b"E" or version != wanted:
        raise PackedError(
            "packed.version", f"packed edits of version {wanted} expected, got {raw[:2].hex()}",
            hint="the online store was written by another version: fill it again from the lake",
        )  # fmt: skip
    return Header(base, (high, low), removed_to, removed)


@dataclass(frozen=True)
class Decoded:
    """Records of several logs, one log after the other.

    group: [n] non-decreasing, the log each record belongs to. known_at: int64 µs [n]. assumed: bool [n].
    ids: row ids as text [n], None when ids are integers (``batch.row_id`` then holds them).
    """

    batch: EditBatch
    group: NDArray[np.intp]
    known_at: NDArray[np.int64]
    assumed: NDArray[np.bool_]
    ids: list[str] | None


@dataclass(frozen=True)
class RowLayout:
    """How the records of a view are packed. Raises PackedError for a view with too many columns."""

    columns: tuple[Column, ...]
    integer_ids: bool

    @classmethod
    def of(cls, plan: Plan, view: View) -> RowLayout:
        """integer_ids: the captured table's primary key column is an int64; else ids are kept as text."""
        for table in plan.tables:
            if (table.source, table.table) == (view.source, view.table):
                return cls(view.columns, any(c.name == view.row_id and c.type == "int64" for c in table.columns))
        return cls(view.columns, False)

    def __post_init__(self) -> None:
        if len(self.columns) > _MAX_COLUMNS:
            raise PackedError(
                "packed.columns", f"a view's edits carry at most {_MAX_COLUMNS} columns, got {len(self.columns)}"
            )

    @property
    def tailed(self) -> bool:
        return not self.integer_ids or any(column.type == "string" for column in self.columns)

    @property
    def width(self) -> int:
        """Bytes of a record's fixed part."""
        return self._struct.size

    @cached_property
    def null_bytes(self) -> int:
        return next(size for size in (1, 2, 4, 8) if len(self.columns) <= 8 * size)

    def offset(self, column: int) -> int:
        """Where the value of a column begins in a record."""
        return struct.calcsize("<" + "".join(self._formats[: len(self._formats) - len(self.columns) + column]))

    @cached_property
    def _formats(self) -> list[str]:
        """struct formats of: tail length if there is one, sign, flags, nulls, position, times, row id, columns."""
        nulls = {1: "B", 2: "H", 4: "I", 8: "Q"}[self.null_bytes]
        tail = ["I"] if self.tailed else []
        row_id = "q" if self.integer_ids else "I"
        return [*tail, "b", "B", nulls, "Q", "Q", "q", "q", row_id, *(_FORMATS[c.type] for c in self.columns)]

    @cached_property
    def _struct(self) -> struct.Struct:
        return struct.Struct("<" + "".join(self._formats))

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        """Of a record's fixed part; columns are named c0, c1, …"""
        names = ["sign", "flags", "nulls", "high", "low", "known_at", "event_time", "row_id"]
        names = [*(["tail"] if self.tailed else []), *names, *(f"c{i}" for i in range(len(self.columns)))]
        codes = {"b": "i1", "B": "u1", "H": "<u2", "I": "<u4", "Q": "<u8", "q": "<i8", "d": "<f8", "?": "?"}
        return np.dtype([(name, codes[code]) for name, code in zip(names, self._formats, strict=True)])

    def encode(self, edit: Edit) -> bytes:
        """One record. Raises EditError when a value does not fit its column."""
        try:
            high, low = halves(edit.position)
        except ValueError:
            raise EditError("edit.position", f"a position has 32 hex digits, got {edit.position[:60]!r}") from None
        if edit.sign == 0 or not all(INT64_MIN < time <= INT64_MAX for time in (edit.event_time, edit.known_at)):
            raise EditError(
                "edit.shape", "an edit has int64 event and commit times, and sign 1 or -1",
                context={"known_at": edit.known_at, "event_time": edit.event_time, "sign": edit.sign},
            )  # fmt: skip
        nulls, fields, tail = 0, list[int | float](), list[bytes]()
        row_id: int
        if self.integer_ids:
            row_id = row_number(edit.row_id)
        else:
            tail.append(edit.row_id.encode())
            row_id = len(tail[0])
        for bit, column in enumerate(self.columns):
            value = exact(column, edit.columns.get(column.name))
            if value is None:
                nulls |= 1 << bit
                fields.append(0)
            elif isinstance(value, str):
                tail.append(value.encode())
                fields.append(len(tail[-1]))
            else:
                fields.append(value)
        fixed = (edit.sign, _ASSUMED if edit.assumed else 0, nulls, high, low, edit.known_at, edit.event_time, row_id)
        if not self.tailed:
            return self._struct.pack(*fixed, *fields)
        end = b"".join(tail)
        return self._struct.pack(len(end), *fixed, *fields) + end

    def decode(self, logs: Sequence[bytes]) -> Decoded:
        """Records of several logs, each without its header. Raises PackedError for bytes that are cut off."""
        if not self.tailed:
            width = self.dtype.itemsize
            if any(len(log) % width for log in logs):
                raise PackedError(
                    "packed.length", f"a log of {width}-byte records has {[len(log) for log in logs]} bytes"
                )
            raw = b"".join(logs)
            table = np.frombuffer(raw, self.dtype)
            group = np.repeat(np.arange(len(logs)), [len(log) // width for log in logs])
            return self._decoded(table, group, [])
        return self._decode_tailed(logs)

    def split(self, log: bytes) -> list[bytes]:
        """The records of one log, without its header, each as its own bytes."""
        if self.tailed:
            return [log[start:end] for start, _, end in self._spans(log)]
        width = self.dtype.itemsize
        return [log[start : start + width] for start in range(0, len(log), width)]

    def _spans(self, log: bytes) -> Iterator[tuple[int, int, int]]:
        """Of each record with a tail: where it starts, where its tail starts, where it ends."""
        width, start = self.dtype.itemsize, 0
        while start < len(log):
            tail_at = start + width
            (tail,) = _TAIL.unpack_from(log, start) if tail_at <= len(log) else (len(log),)
            if tail_at + tail > len(log):
                raise PackedError("packed.length", f"a record is cut off: {len(log) - start} bytes are left of it")
            yield start, tail_at, tail_at + tail
            start = tail_at + tail

    def _decode_tailed(self, logs: Sequence[bytes]) -> Decoded:
        counts, fixed, tails = [], bytearray(), []
        for log in logs:
            spans = list(self._spans(log))
            for start, tail_at, end in spans:
                fixed += log[start:tail_at]
                tails.append(log[tail_at:end])
            counts.append(len(spans))
        group = np.repeat(np.arange(len(logs)), counts)
        return self._decoded(np.frombuffer(bytes(fixed), self.dtype), group, tails)

    def _decoded(self, table: NDArray[Any], group: NDArray[np.intp], tails: list[bytes]) -> Decoded:
        texts = self._texts(table, tails)
        ids = None if self.integer_ids else texts.pop("row_id")
        any_null = bool(table["nulls"].any())
        columns = {}
        for bit, column in enumerate(self.columns):
            values = np.array(texts[f"c{bit}"], object) if column.type == "string" else table[f"c{bit}"]
            valid = (table["nulls"] >> bit) & 1 == 0 if any_null else None
            columns[column.name] = Series(values, valid)
        row_id = table["row_id"] if ids is None else row_keys(ids, integer=False)
        batch = EditBatch(table["sign"], row_id, table["high"], table["low"], table["event_time"], columns)
        return Decoded(batch, group, table["known_at"], (table["flags"] & _ASSUMED) > 0, ids)

    def _texts(self, table: NDArray[Any], tails: list[bytes]) -> dict[str, list[str]]:
        """Field name → texts [n], cut from the tails."""
        names = [] if self.integer_ids else ["row_id"]
        names += [f"c{bit}" for bit, column in enumerate(self.columns) if column.type == "string"]
        texts: dict[str, list[str]] = {name: [] for name in names}
        lengths = [table[name].tolist() for name in names]
        for tail, *spans in zip(tails, *lengths, strict=True) if names else ():
            at = 0
            for name, length in zip(names, spans, strict=True):
                texts[name].append(tail[at : at + length].decode())
                at += length
        return texts


def repeated(decoded: Decoded, headers: Sequence[Header]) -> NDArray[np.bool_]:
    """[n] bool: records after a log's compacted base that deliver again what was compacted."""
    group = decoded.group
    if not any(head.compacted for head in headers):
        return np.zeros(len(group), np.bool_)
    folded = np.array([head.folded_to for head in headers], np.uint64)
    base = np.array([head.base for head in headers], np.int64)
    starts = np.searchsorted(group, np.arange(len(headers)))
    place = np.arange(len(group)) - starts[group]
    return (place >= base[group]) & up_to(decoded.batch, folded[group, 0], folded[group, 1])
