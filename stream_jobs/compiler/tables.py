"""Kafka sources with ``appliance.*`` tags → captured tables."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from feast import KafkaSource

from appliance.names import Names
from stream_jobs.errors import CompileError
from stream_jobs.plan import CapturedTable, Column, ColumnType

_DECLARED = re.compile(r"(int64|decimal|float64|string|bool|timestamp|timestamptz)(?:\((\d+)\))?")
_PLAN_TYPE: dict[str, ColumnType] = {
    "int64": "int64", "decimal": "decimal", "float64": "float64", "string": "string", "bool": "bool",
    "timestamp": "timestamp_us", "timestamptz": "timestamp_us",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """A captured table before its views are known. declared: column → type as written (timestamptz, decimal, …).

    event_time: "" for a table that has none, which no windowed view can stand on.
    """

    name: str
    source: str
    table: str
    topic: str
    key: str
    event_time: str
    columns: tuple[Column, ...]
    declared: dict[str, str]
    time_zone: str

    def column(self, name: str, of: str) -> Column:
        """Raises CompileError when the table has no such column; ``of`` says who asked."""
        for column in self.columns:
            if column.name == name:
                return column
        raise CompileError(
            "compile.no_column",
            f"{of} uses column {name!r}, which {self.table} does not declare; it has {[c.name for c in self.columns]}",
            hint=f"add the column to source {self.name!r}, or correct the name",
        )

    def captured(self, *, full_identity: bool) -> CapturedTable:
        return CapturedTable(
            source=self.source,
            table=self.table,
            topic=self.topic,
            primary_key=(self.key,),
            columns=self.columns,
            event_time=self.event_time,
            full_identity=full_identity,
            zoneless=tuple(name for name, kind in self.declared.items() if kind == "timestamp"),
        )


def table(source: KafkaSource, names: Names) -> Table:
    """Raises CompileError naming what the source lacks."""
    where = f"source {source.name!r}"
    missing = [tag for tag in ("source", "table", "key", "columns") if not source.tags.get(f"appliance.{tag}")]
    if missing:
        raise CompileError(
            "compile.not_captured",
            f"{where} has no tag {', '.join('appliance.' + tag for tag in missing)}",
            hint="make it with feature_repo.declare.captured(…)",
        )
    alias, name = source.tags["appliance.source"], source.tags["appliance.table"]
    written: dict[str, str] = json.loads(source.tags["appliance.columns"])
    columns, declared = [], {}
    for column, text in written.items():
        parsed = _DECLARED.fullmatch(text)
        if parsed is None:
            raise CompileError("compile.column_type", f"{where}: column {column!r} has the unknown type {text!r}")
        declared[column] = parsed[1]
        columns.append(Column(column, _PLAN_TYPE[parsed[1]], int(parsed[2] or 0)))
    result = Table(
        name=source.name,
        source=alias,
        table=name,
        topic=names.cdc(alias, name),
        key=source.tags["appliance.key"],
        event_time=source.tags.get("appliance.event_time", ""),
        columns=tuple(columns),
        declared=declared,
        time_zone=source.tags.get("appliance.time_zone", ""),
    )
    result.column(result.key, f"{where} as its key")
    if result.event_time and result.column(result.event_time, f"{where} as its event time").type != "timestamp_us":
        raise CompileError(
            "compile.event_time",
            f"{where}: event time {result.event_time!r} is {declared[result.event_time]}, expected timestamptz",
        )
    if source.kafka_options.topic != result.topic:
        raise CompileError(
            "compile.topic", f"{where} names topic {source.kafka_options.topic!r}, its table is in {result.topic!r}"
        )
    _check_zone(result)
    return result


def _check_zone(table: Table) -> None:
    zoneless = [name for name, kind in table.declared.items() if kind == "timestamp"]
    if zoneless and table.time_zone != "UTC":
        raise CompileError(
            "compile.time_zone",
            f"source {table.name!r}: {zoneless} have no time zone and time_zone is {table.time_zone or 'not given'!r}",
            hint='declare time_zone="UTC" if the database writes UTC, else make the column timestamptz',
        )
