"""Adding, checking and removing a source, step by step; every step can be said twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from appliance import notices
from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.errors import SourceError
from stream_jobs.marker import order
from stream_jobs.mending import mends
from stream_jobs.source import administrator, connector, database, postgres_checks, record, snapshot, unusable, wal
from stream_jobs.source.check import Check
from stream_jobs.source.record import Address, Source, Table
from stream_jobs.writeback import record as targets

MENDING = "log of changes"
"""The point that fails while ``mender`` works on it."""


@dataclass
class Report:
    """What was found and done. records: in the captured tables' topics."""

    source: Source
    checks: list[Check] = field(default_factory=list)
    growth: list[wal.Growth] = field(default_factory=list)
    records: int | None = None


def describe(context: Context, name: str, address: Address, tables: Sequence[str] | None, *, sample: bool) -> Source:
    """The source as it is to be: its tables from ``tables`` (all with full identity) or else from the plan.

    Raises UsageError when neither names a table.
    """
    record.check_name(name)
    if tables:
        kind = database.of(Source(name, address, ()))
        chosen = [Table(kind.qualified(address, table), full_identity=True) for table in tables]
    else:
        chosen = [Table(table.table, table.full_identity) for table in _planned(context, name)]
    if not chosen:
        raise UsageError(
            "source.no_tables", f"the plan names no table of source {name!r}",
            hint="appliance features apply, or name them: --tables schema.table,schema.table",
        )  # fmt: skip
    known = record.read(context, name)
    before = {table.name: table.former_identity for table in known.tables} if known else {}
    return Source(
        name,
        address,
        tuple(Table(each.name, each.full_identity, before.get(each.name, "DEFAULT")) for each in chosen),
        sample,
    )


def _planned(context: Context, name: str) -> list[plan.CapturedTable]:
    path = context.layout.plan_file
    return [table for table in plan.read(path).tables if table.source == name] if path.exists() else []


def administrators_script(context: Context, source: Source) -> str:
    """What the administrator runs: the SQL with what each line touches, and how to take it back."""
    return database.of(source).script(source, context.secrets.get(source.secret))


def add(context: Context, source: Source, tell: Callable[[str], None]) -> Report:
    """Set up (the sample database only), check, connect, and wait for the snapshot.

    Raises SourceError with every failed check, before any connector is made.
    """
    known = record.read(context, source.name)
    if known and (known.address, known.sample) != (source.address, source.sample):
        raise SourceError(
            "source.other", f"source {source.name!r} is {known.address} already",
            hint=f"appliance source remove {source.name}, or choose another name",
        )  # fmt: skip
    _refuse_written_back(context, source)
    if known and {table.name for table in known.tables} != {table.name for table in source.tables}:
        raise SourceError(
            "source.other_tables",
            f"source {source.name!r} captures {[table.name for table in known.tables]} already",
            hint=f"appliance source remove {source.name}, then add it with the tables you want",
        )
    if source.sample and known is None:
        source = _with_identities(context, source)
        tell("setting up the sample business database as its administrator")
        administrator.set_up(context, source)
        record.write(context, source)
    report = check(context, source)
    failed = [each for each in report.checks if not each.ok]
    if failed:
        raise SourceError(
            "source.checks",
            f"{len(failed)} of {len(report.checks)} checks of {source.address} failed: "
            + "; ".join(f"{each.point} is {each.found}: {each.todo}" for each in failed),
            context={"failed": [each.point for each in failed]},
            hint=f"appliance source add {source.name} … --print-sql says what the administrator runs",
        )
    record.write(context, source)
    tell(f"starting connector {connector.name(context, source)}")
    connector.start(context, source)
    report.records = snapshot.wait(context, source, lambda count: tell(f"{max(count, 0)} records captured"))
    return report


def _refuse_written_back(context: Context, source: Source) -> None:
    """Raises SourceError when predictions are written into one of the tables: each would come in again."""
    there = (source.address.host, source.address.port, source.address.database)
    for target in targets.everyone(context):
        here = (target.address.host, target.address.port, target.address.database)
        if here == there and target.table in {table.name for table in source.tables}:
            raise SourceError(
                "source.written_back", f"predictions of {target.service} are written to {target.table}",
                hint=f"leave it out, or: appliance writeback remove {target.service}",
            )  # fmt: skip


def _with_identities(context: Context, source: Source) -> Source:
    """The source with the replica identities its tables have now. Raises SourceError when a table is missing."""
    with administrator.connect(context) as connection:
        tables = []
        for table in source.tables:
            if not postgres_checks.one(connection, "SELECT to_regclass(%s)::oid", table.name):
                raise SourceError(
                    "source.no_table", f"{source.address} has no table {table.name}", hint="appliance sample load"
                )
            identity = postgres_checks.identity_of(connection, table.name)
            tables.append(Table(table.name, table.full_identity, identity))  # type: ignore[arg-type]
    return Source(source.name, source.address, tuple(tables), source.sample)


def check(context: Context, source: Source) -> Report:
    """Every check and the expected growth of the write-ahead log. Raises SourceError when nobody lets us in."""
    return Report(source, *database.of(source).inspect(context, source, _planned(context, source.name)))


def live(context: Context, report: Report) -> Report:
    """The report with checks of what runs: the connector, and what its readers could not use."""
    reason = connector.failure(context, report.source)
    state = Check(
        f"connector {connector.name(context, report.source)}", reason is None, reason or "running",
        "" if reason is None else f"appliance logs connect; appliance source add {report.source.name} … again",
    )  # fmt: skip
    open_mends = [mend for mend in mends.unfinished(context) if mend.source == report.source.name]
    mending = Check(
        MENDING, not open_mends, "; ".join(f"being mended: {each.reason}" for each in open_mends) or "whole",
        "" if not open_mends else "wait: features of this source stand still meanwhile; appliance source mends",
    )  # fmt: skip
    return replace(report, checks=[*report.checks, state, mending, unusable.check(context, report.source)])


def remove(context: Context, source: Source, tell: Callable[[str], None]) -> list[str]:
    """Take the connector away and, of the sample database, everything else; returns what is left, best nothing.

    The topics and what was made of them stay. Of another's database the slot is dropped; the rest is its
    administrator's to run (``undo_script``).
    """
    tell(f"removing connector {connector.name(context, source)}")
    connector.remove(context, source)
    left = []
    if source.sample:
        left = administrator.take_back(context, source)
    else:
        database.of(source).release(context, source)
    record.forget(context, source.name)
    for name in (f"source-{source.name}", order.notice(source.name)):
        notices.take_back(context.layout, name)
    return left
