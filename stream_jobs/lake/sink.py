"""One topic's way into its Delta table: decode, gather, commit once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import pyarrow as pa
from deltalake import DeltaTable

from appliance.names import Names
from appliance.records import Feedback, ShadowScore
from stream_jobs.lake import delta, reach, schema
from stream_jobs.lake.decode import ChangeDecoder
from stream_jobs.lake.flat import FlatDecoder
from stream_jobs.lake.ledger import LedgerDecoder, without_repeats
from stream_jobs.lake.reach import Reached
from stream_jobs.lake.records import Broken, Decoded, Mark, Raw
from stream_jobs.plan import CapturedTable, Plan, Service

IDLE_COMMIT_SECONDS = 6 * 3600
"""Markers move offsets but bring no rows: after this long the offsets are committed without rows."""

FLUSH_BYTES = 64 * 1024 * 1024
"""Rows of so many bytes are committed, however few they are."""

Clean = Callable[[DeltaTable, list[pa.RecordBatch]], list[pa.RecordBatch]]


class Decoder(Protocol):
    def decode(self, records: Iterable[Raw]) -> Decoded: ...


def application_id(topic: str, partition: int) -> str:
    """The Delta application id of a topic partition; its version is the last offset that the table holds."""
    return f"{topic}/{partition}"


class Sink:
    """The rows of one topic that wait for their commit.

    Rows and the offsets they stand at go into one Delta commit, so both are there or neither is.
    """

    def __init__(
        self,
        topic: str,
        decoder: Decoder,
        path: Path,
        columns: pa.Schema,
        partition_by: str,
        clean: Clean | None = None,
        says_reached: bool = False,
    ) -> None:
        self.topic, self._decoder, self._schema, self._clean = topic, decoder, columns, clean
        self._says_reached = says_reached
        self._path, self._table = path, delta.create(path, columns, partition_by)
        self._said = reach.read(path)
        self._offsets: dict[int, int] = {}
        self._marks: dict[int, Mark] = {}
        self._waiting: list[pa.RecordBatch] = []
        self._consumed: dict[int, int] = {}
        self._must_commit = False
        self._since = self._committed = time.monotonic()
        self.rows = self.bytes = 0

    def reached(self, partition: int) -> int | None:
        """Last offset of the partition that the table holds; None if it holds nothing of it."""
        return delta.reached(self._table).get(application_id(self.topic, partition))

    def expect(self, partition: int, start: int) -> None:
        """The partition is read from offset ``start``: everything before it is in the table."""
        self._offsets[partition] = start

    def add(self, records: list[Raw]) -> list[Broken]:
        """Take records in, in the order of their offsets. Returns those that could not be used."""
        if not records:
            return []
        decoded = self._decoder.decode(records)
        if (decoded.rows or decoded.broken) and not self._must_commit:
            self._since, self._must_commit = time.monotonic(), True
        self._waiting.extend(decoded.rows)
        self.rows += sum(map(len, decoded.rows))
        self.bytes += sum(batch.nbytes for batch in decoded.rows)
        self._consumed.update((raw.partition, raw.offset) for raw in records)
        self._offsets.update((raw.partition, raw.offset + 1) for raw in records)
        self._marks.update(decoded.marks)
        return decoded.broken

    def due(self, flush_rows: int, flush_interval_ms: int) -> bool:
        now = time.monotonic()
        if self._must_commit:
            full = self.rows >= flush_rows or self.bytes >= FLUSH_BYTES
            return full or (now - self._since) * 1000 >= flush_interval_ms
        return bool(self._consumed) and now - self._committed >= IDLE_COMMIT_SECONDS

    def flush(self) -> dict[int, int]:
        """Commit what waits. Returns partition → last offset committed. Raises LakeError and keeps the rows."""
        if not self._consumed:
            return {}
        rows = self._clean(self._table, self._waiting) if self._clean and self._waiting else self._waiting
        versions = {application_id(self.topic, partition): offset for partition, offset in self._consumed.items()}
        delta.append(self._table, rows, self._schema, versions)
        committed, self._consumed = self._consumed, {}
        self._waiting, self.rows, self.bytes, self._must_commit = [], 0, 0, False
        self._committed = time.monotonic()
        return committed

    def say_reached(self) -> None:
        """Write how far the table is filled, if all that was read is in it and something has changed since.

        Offsets go on without a marker too: while a mend holds the markers, it waits for the lake to pass its fences.
        """
        if not self._says_reached or self._must_commit or self._offsets == self._said.offsets:
            return
        mark = Mark(self._said.position, self._said.known_at)
        if self._marks.keys() >= self._offsets.keys():
            mark = max((min(self._marks.values(), key=_position), mark), key=_position)
        self._said = Reached(mark.position, mark.known_at, dict(self._offsets))
        reach.write(self._path, self._said)


def _position(mark: Mark) -> str:
    return mark.position


def of_table(table: CapturedTable, plan: Plan, names: Names, lake: Path) -> Sink:
    """The change table of a captured table."""
    path = lake / names.lake_changes(table.source, table.table)
    decoder = ChangeDecoder(table, plan.time_zone)
    return Sink(table.topic, decoder, path, schema.changes(table), schema.PARTITION, says_reached=True)


def of_service(service: Service, names: Names, lake: Path) -> Sink:
    """The ledger of a service."""
    path = lake / names.lake_ledger(service.name)
    topic = names.predictions(service.name)
    return Sink(topic, LedgerDecoder(service.name), path, schema.LEDGER, schema.LEDGER_PARTITION, without_repeats)


def of_feedback(service: Service, names: Names, lake: Path) -> Sink:
    """What is said of a service's events."""
    decoder = FlatDecoder(Feedback, service.name, schema.FEEDBACK, "known_at")
    path = lake / names.lake_feedback(service.name)
    return Sink(names.feedback(service.name), decoder, path, schema.FEEDBACK, schema.FEEDBACK_PARTITION)


def of_shadow(service: Service, names: Names, lake: Path) -> Sink:
    """The scores of a service's versions in shadow."""
    decoder = FlatDecoder(ShadowScore, service.name, schema.SHADOW, "predicted_at")
    path = lake / names.lake_shadow(service.name)
    return Sink(names.shadow(service.name), decoder, path, schema.SHADOW, schema.SHADOW_PARTITION)


def of_plan(plan: Plan, names: Names, lake: Path) -> dict[str, Sink]:
    """Topic → sink, for everything the plan captures and scores."""
    sinks = [of_table(table, plan, names, lake) for table in plan.tables]
    sinks += [make(service, names, lake) for service in plan.services for make in (of_service, of_feedback, of_shadow)]
    return {sink.topic: sink for sink in sinks}
