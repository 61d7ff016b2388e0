"""Rows of the input → rows in one form, as every other way has them, and those that cannot be scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from appliance.records import FeatureValue, Value
from gateway.batch.intake import NUMBER, POSITION
from gateway.errors import Fault, InvalidError, UnusableRowError
from gateway.scoring import validate
from gateway.scoring.features import RequestFunctions
from stream_jobs.lake import schema
from stream_jobs.plan import Column, Plan, Service


@dataclass(frozen=True)
class Row:
    """number: in the input. position: the cut. as_of: µs UTC. requested: the request features."""

    number: int
    position: str
    event_key: str
    as_of: int
    row: dict[str, Value]
    requested: dict[str, FeatureValue]


@dataclass(frozen=True)
class Reject:
    """A row that cannot be scored, and why. row: as it came, JSON."""

    number: int
    event_key: str
    code: str
    reason: str
    row: str


class Reader:
    """Makes rows of one service. cut, clock: position and time (µs) of the rows of a file that has no such column."""

    def __init__(self, plan: Plan, service: Service, cut: str, clock: int) -> None:
        self._service, self._cut, self._clock = service, cut, clock
        self._keys = validate.key_columns(plan, service)
        self._requests = RequestFunctions.of(service)

    def read(self, table: pa.Table) -> tuple[list[Row], list[Reject]]:
        """table: rows as ``intake.stage`` wrote them."""
        rows: list[Row] = []
        rejects: list[Reject] = []
        for raw in table.to_pylist():
            number, position = raw.pop(NUMBER), raw.pop(POSITION)
            try:
                rows.append(self._row(number, position, raw))
            except UnusableRowError as error:
                key = raw.get(self._service.event_key)
                text = msgspec.json.encode(raw).decode()
                rejects.append(Reject(number, "" if key is None else str(key), error.code, error.message, text))
        return rows, rejects

    def _row(self, number: int, position: str, raw: Mapping[str, Any]) -> Row:
        service = self._service
        if position:
            row, faults = validate.captured(service, raw)
        else:
            row, faults = validate.requested(service, self._keys, raw, "row")
            if raw.get(service.event_time, self._clock) is None:
                faults.append(Fault(f"row.{service.event_time}", "a time", "null"))
            row.setdefault(service.event_time, self._clock)
        if faults:
            raise UnusableRowError("row.invalid", InvalidError(f"row {number}", faults).message)
        return Row(
            number=number,
            position=position or self._cut,
            event_key=str(row[service.event_key]),
            as_of=int(row[service.event_time] or 0),
            row=row,
            requested=self._requests.values(row),
        )


def column(rows: Sequence[Row], of: Column) -> pa.Array:
    """A column of the rows in the lake's type."""
    values: list[Any] = [row.row[of.name] for row in rows]
    if of.type == "decimal":
        values = [None if value is None else Decimal(value) for value in values]
    return pa.array(values, schema.arrow_type(of))
