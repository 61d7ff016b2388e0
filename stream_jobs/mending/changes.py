"""Records that ``mender`` puts into a captured topic, in Debezium's shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from appliance.records import ChangeSource
from stream_jobs.plan import CapturedTable, Column

MADE_BY = "mender"
_BINLOG_FILE = "mender.{:06d}"


class Made(msgspec.Struct, frozen=True):
    """A change as Debezium writes it: u or d."""

    op: str
    before: dict[str, Any]
    after: dict[str, Any] | None
    source: ChangeSource


def place(position: str, *, binlog: bool) -> ChangeSource:
    """A source block with exactly that position (``appliance.position.of``)."""
    if binlog:
        file, pos, row = int(position[:8], 16), int(position[8:24], 16), int(position[24:], 16)
        return ChangeSource(file=_BINLOG_FILE.format(file), pos=pos, row=row)
    return ChangeSource(sequence=f'["{int(position[:16], 16)}","{int(position[16:], 16)}"]')


def above(position: str, *, binlog: bool) -> str:
    """A position above this one of a change, and below that of every other change above it.

    The next record of PostgreSQL's log begins at least 8 bytes later; no event of a binlog has so many rows.
    """
    if binlog:
        return f"{position[:24]}{999_999_999:08x}"
    return f"{int(position, 16) + 1:032x}"


def wire_sql(column: Column, expression: str, *, zoneless: bool) -> str:
    """SQL: a value of the lake as Debezium writes it."""
    if column.type == "decimal":
        return f"({expression})::VARCHAR"
    if column.type != "timestamp_us":
        return expression
    if zoneless:
        return f"epoch_us({expression})"
    return f"strftime(({expression}) AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ')"


class Encoder:
    """Records of one table for one mend, all at one position. known_at: µs."""

    def __init__(self, table: CapturedTable, position: str, known_at: int, mend: str, *, binlog: bool) -> None:
        schema, _, name = table.table.rpartition(".")
        self._source = msgspec.structs.replace(
            place(position, binlog=binlog), ts_us=known_at, schema=schema, table=name, made_by=MADE_BY, made_for=mend
        )
        self._names = [column.name for column in table.columns]
        self._keys = table.primary_key

    def record(self, before: Sequence[Any], after: Sequence[Any] | None) -> tuple[bytes, bytes]:
        """Key and value: the row's image ``before`` goes, ``after`` is the row as it is (None: there is none).

        Images: values of the table's columns in order, as on the wire.
        """
        old = dict(zip(self._names, before, strict=True))
        new = None if after is None else dict(zip(self._names, after, strict=True))
        made = Made("u" if new else "d", old, new, self._source)
        return msgspec.json.encode({key: old[key] for key in self._keys}), msgspec.json.encode(made)
