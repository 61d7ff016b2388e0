"""Adding, checking and removing a write-back, step by step; every step can be said twice."""

from __future__ import annotations

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from appliance.clients import kafka
from appliance.errors import UsageError
from appliance.parts.base import Context
from stream_jobs.errors import WritebackError
from stream_jobs.plan import Plan, Service
from stream_jobs.source import administrator
from stream_jobs.source import record as sources
from stream_jobs.source.check import Check
from stream_jobs.source.record import Address
from stream_jobs.writeback import flow, postgres, record
from stream_jobs.writeback.record import By, Target

_COUNTED = 1_000
_SECONDS = 5.0


def describe(context: Context, plan: Plan, service: str, table: str, url: str | None, by: By) -> Target:
    """The target as it is to be: in the database of ``url``, else in the one that the service's rows come from.

    Raises UsageError where it cannot be, WritebackError where the table is one that is captured.
    """
    of = plan.service(service)
    if table.count(".") != 1 or not all(table.split(".")):
        raise UsageError("writeback.table", f"{table!r} is no table: expected schema.name")
    role = record.role(service)
    if url is not None:
        address, sample = sources.parse_address(url), False
        if address.user == sources.ROLE:
            address = _as(address, role)
    else:
        source = sources.registered(context, of.source)
        address, sample = _as(source.address, role), source.sample
    if address.kind != "postgresql":
        raise UsageError(
            "writeback.kind", f"{address}: predictions are written back to PostgreSQL only", hint="--url postgresql://…"
        )
    target = Target(service, address, table, by, time.time_ns() // 1000, sample)
    _refuse_captured(context, target)
    return target


def _as(address: Address, user: str) -> Address:
    return Address(address.kind, address.host, address.port, address.database, user, address.ssl_mode)


def _refuse_captured(context: Context, target: Target) -> None:
    """Raises WritebackError when the table is one of a source's: every prediction would come in as a change."""
    if target.table.partition(".")[0] == sources.SCHEMA:
        raise WritebackError("writeback.ours", f"schema {sources.SCHEMA} is the appliance's own", hint="another schema")
    here = (target.address.host, target.address.port, target.address.database)
    for source in sources.everyone(context):
        there = (source.address.host, source.address.port, source.address.database)
        if here == there and target.table in {table.name for table in source.tables}:
            raise WritebackError(
                "writeback.captured", f"{target.table} is captured by source {source.name}: what is written back would "
                "come in again", hint="write to a table of its own, such as scores.predictions",
            )  # fmt: skip


def key_type(service: Service) -> str:
    """PostgreSQL's type of the event's key: whole numbers as such, else its text."""
    kinds = {column.name: column.type for column in service.row}
    return "bigint" if kinds[service.event_key] == "int64" else "text"


def script(context: Context, plan: Plan, target: Target) -> str:
    """What the administrator runs."""
    return postgres.script(target, key_type(plan.service(target.service)), context.secrets.get(target.secret))


def add(context: Context, plan: Plan, target: Target) -> list[Check]:
    """Set up (the sample database only), check, and begin. Raises WritebackError with every check that failed."""
    known = record.read(context, target.service)
    if known is not None:
        if (known.address, known.table, known.by) != (target.address, target.table, target.by):
            raise WritebackError(
                "writeback.other", f"predictions of {target.service} go to {known.table} of {known.address} already",
                hint=f"appliance writeback remove {target.service}",
            )  # fmt: skip
        target = known
    elif target.sample:
        _set_up(context, plan, target)
    checks = check(context, target)
    failed = [each for each in checks if not each.ok]
    if failed:
        raise WritebackError(
            "writeback.checks",
            f"{len(failed)} of {len(checks)} checks of {target.table} failed: "
            + "; ".join(f"{each.point} is {each.found}: {each.todo}" for each in failed),
            context={"failed": [each.point for each in failed]},
            hint=f"appliance writeback add {target.service} --table {target.table} --print-sql",
        )
    record.write(context, target)
    return checks


def _set_up(context: Context, plan: Plan, target: Target) -> None:
    """As the sample database's administrator; what is there already stays."""
    with administrator.connect(context) as connection:
        there = connection.execute(b"SELECT 1 FROM pg_roles WHERE rolname = %s", (target.address.user,)).fetchone()
        if there is not None:
            return
        password = context.secrets.get(target.secret)
        with connection.transaction():
            for each in postgres.statements(target, key_type(plan.service(target.service)), password):
                connection.execute(each.do.encode())


def check(context: Context, target: Target) -> list[Check]:
    """Every point of the table. Raises WritebackError when nobody lets us in."""
    with postgres.connect(context, target) as connection:
        return postgres.check(connection, target)


def waiting(context: Context, target: Target) -> int:
    """Predictions that the table has not taken yet: counted where they are few, else by their offsets.

    Offsets count what ends a transaction too, so a few of them may stand for nothing. Raises WritebackError when Kafka
    does not answer.
    """
    group = flow.group(context.names, target)
    consumer = kafka.consumer(context, flow.NAME, group, **{"enable.partition.eof": True})
    try:
        behind = []
        left = 0
        for each in flow.partitions(consumer, context.names.predictions(target.service)):
            low, high = consumer.get_watermark_offsets(each, timeout=_SECONDS)
            if high > max(each.offset, low):
                behind.append(each)
                left += high - max(each.offset, low)
        return left if left > _COUNTED else _count(consumer, behind)
    except KafkaException as error:
        raise WritebackError(
            "writeback.kafka", f"Kafka does not say what waits: {error.args[0]}", hint="appliance status kafka"
        ) from error
    finally:
        consumer.close()


def _count(consumer: Consumer, partitions: list[TopicPartition]) -> int:
    """Records from there to the ends of the partitions. Raises KafkaException when they do not come in time."""
    found = ended = 0
    consumer.assign(partitions)
    while ended < len(partitions):
        message = consumer.poll(_SECONDS)
        error = KafkaError(KafkaError._TIMED_OUT) if message is None else message.error()
        if error is None:
            found += 1
        elif error.code() == KafkaError._PARTITION_EOF:
            ended += 1
        else:
            raise KafkaException(error)
    return found


def remove(context: Context, target: Target) -> None:
    """Write no more. Of the sample database the role and the table go too; another's administrator runs ``undo``."""
    record.forget(context, target.service)
    flow.forget_notice(context, target)
    if target.sample:
        with administrator.connect(context) as connection, connection.transaction():
            for line in postgres.undo(target):
                connection.execute(line.encode())
