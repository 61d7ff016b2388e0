"""What filling a new version of a view takes: records, time, room in the stores, and whether the past is there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from appliance.clients import flink
from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.position import ZERO
from appliance.records import Edit, Value
from stream_jobs.lake import delta, reading
from stream_jobs.lake.reading import quote
from stream_jobs.lake.sink import application_id
from stream_jobs.online.packed import EMPTY, RowLayout
from stream_jobs.online.sweep import REMOVE_MARGIN_US
from stream_jobs.plan import CapturedTable, ColumnType, Plan, View
from stream_jobs.rebuild import from_lake
from stream_jobs.versions import progress
from stream_jobs.versions.tending import offsets
from stream_jobs.windows.assemble import Windows

DEFAULT_RECORDS_PER_SECOND = 10_000
"""Half of what a job at parallelism 1 does alone on two cores, since the others go on beside it."""

_REDIS_ENTITY_BYTES = 120
_HBASE_CELL_BYTES = 60
"""What a key, and a cell's own key without its row and qualifier, take beside their content."""
_MEMORY_MIB = 512
_TIME = 1_500_000_000_000_000


class Rows(msgspec.Struct, frozen=True):
    """Of the captured table, from the lake. edits: of the whole history. recent: rows that Redis keeps."""

    edits: int = 0
    entities: int = 0
    recent: int = 0


class Forecast(msgspec.Struct, frozen=True):
    """records: of the captured topic, to read. rate: records a second, from ``rate_from``. history: where the past
    comes from, and what of it is missing."""

    records: int
    rate: float
    rate_from: str
    seconds: float
    rows: Rows
    redis_bytes: int
    hbase_bytes: int
    history: str
    whole: bool


@dataclass(frozen=True)
class _Rate:
    records_per_second: float
    told: str


def forecast(context: Context, plan: Plan, view: View) -> Forecast:
    """plan: the one that has the view. Raises KafkaException when Kafka does not answer."""
    held = offsets(context, view.source_topic)
    records = sum(end - first for first, end in held.values())
    table = next(each for each in plan.tables if each.topic == view.source_topic)
    rows = _rows(context, view, table)
    history, whole = _history(held, _lake_at(context, table, held))
    rate = _rate(context)
    edit = _sample(view)
    redis = rows.recent * len(RowLayout.of(plan, view).encode(edit)) + rows.entities * (
        len(EMPTY) + _REDIS_ENTITY_BYTES
    )
    cell = len(msgspec.json.encode(edit)) + len(edit.row_id) + len(edit.entity) + 27 + _HBASE_CELL_BYTES
    return Forecast(
        records=records,
        rate=rate.records_per_second,
        rate_from=rate.told,
        seconds=records / rate.records_per_second,
        rows=rows,
        redis_bytes=redis,
        hbase_bytes=rows.edits * cell,
        history=history,
        whole=whole,
    )


def lacking(context: Context, topics: Iterable[str]) -> frozenset[str]:
    """Those of these captured topics whose oldest records are gone. Raises KafkaException."""
    return frozenset(topic for topic in topics if any(first for first, _ in offsets(context, topic).values()))


def _history(held: dict[int, tuple[int, int]], lake_at: dict[int, int]) -> tuple[str, bool]:
    """Where the past comes from, and whether all of it is there. lake_at: partition → next offset of the lake."""
    if not held:
        return "nothing is captured yet: it begins with the first snapshot", True
    if all(first == 0 for first, _ in held.values()):
        return "from the captured topic, which holds every change since capture began", True
    if all(lake_at.get(number, 0) >= first for number, (first, _) in held.items()):
        return "from the lake, since the captured topic no longer holds the oldest changes; then from the topic", True
    return (
        "INCOMPLETE: the captured topic no longer holds the oldest changes, and the lake does not have them all",
        False,
    )


def _lake_at(context: Context, table: CapturedTable, partitions: Iterable[int]) -> dict[int, int]:
    path = from_lake.path(context, table)
    if not delta.exists(path):
        return {}
    reached = delta.reached(delta.open_table(path))
    return {number: reached.get(application_id(table.topic, number), -1) + 1 for number in partitions}


def _rows(context: Context, view: View, table: CapturedTable) -> Rows:
    """Counted in the lake; zeros where it has nothing yet."""
    if not delta.exists(from_lake.path(context, table)):
        return Rows()
    time = quote(f"after_{view.event_time}")
    entity = ", ".join(quote(f"after_{name}") for name in view.join_keys)
    longest = Windows(view.columns, view.features).longest_us
    with reading.connect(context.run("features-plan"), reading.Limits(_MEMORY_MIB)) as connection:
        reading.changes(context, connection, table).create_view("changes")
        found = connection.execute(
            f"""SELECT coalesce(sum(CASE op WHEN 'u' THEN 2 ELSE 1 END), 0), approx_count_distinct(({entity})),
                count(*) FILTER (WHERE {time} > newest - to_microseconds({longest + REMOVE_MARGIN_US}))
                FROM changes, (SELECT max({time}) AS newest FROM changes)"""
        ).fetchone()
    return Rows(*(int(number or 0) for number in found or ()))


def _sample(view: View) -> Edit:
    """An edit as long as a usual one."""
    usual: dict[ColumnType, Value] = {
        "int64": 123456, "decimal": "123", "float64": 123.456,
        "string": "abcdefgh", "bool": True, "timestamp_us": _TIME,
    }  # fmt: skip
    return Edit(1, ZERO, _TIME, "1234", "1234567", _TIME, False, {c.name: usual[c.type] for c in view.columns})


def _rate(context: Context) -> _Rate:
    filled = progress.rate(context)
    if filled is not None:
        return _Rate(filled.records_per_second, f"measured on this machine when {filled.version} was filled")
    try:
        busiest = max(filter(None, (_busy_rate(context, job) for job in _running(context))), default=None)
    except NotReadyError:
        busiest = None
    if busiest is not None:
        return _Rate(busiest, "records per busy second of the running Flink jobs, which other work slows down")
    return _Rate(DEFAULT_RECORDS_PER_SECOND, "assumed: nothing was measured on this machine yet")


def _running(context: Context) -> list[str]:
    return [job["jid"] for job in flink.jobs(context) if job["state"] == "RUNNING"]


def _busy_rate(context: Context, job: str) -> float | None:
    """Records that the job's source has read, by the seconds it was busy; None below 5 busy seconds."""
    records, busy_ms = 0.0, 0.0
    for vertex in flink.call(context, f"/jobs/{job}")["vertices"]:
        base = f"/jobs/{job}/vertices/{vertex['id']}"
        busy_ms += float(vertex["metrics"].get("accumulated-busy-time") or 0)
        names = [each["id"] for each in flink.call(context, f"{base}/metrics")]
        sources = [name for name in names if ".Source__" in name and name.endswith(".numRecordsOut")]
        if sources:
            found = flink.call(context, f"{base}/metrics?get={','.join(sources)}")
            records += sum(float(each["value"]) for each in found)
    return records / (busy_ms / 1000) if busy_ms >= 5_000 and records else None
