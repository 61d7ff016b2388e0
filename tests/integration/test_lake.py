"""The lake on the running appliance, and its writer killed again and again on the appliance's Kafka."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from confluent_kafka import Consumer, TopicPartition

from appliance import users
from appliance.clients import kafka
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.records import DeadLetter
from stream_jobs import plan as plans
from stream_jobs.lake import schema
from stream_jobs.lake.reading import connect, scan
from stream_jobs.plan import CapturedTable, Plan
from tests.unit.stream_jobs.lake.changes import TABLE, change, row

pytestmark = pytest.mark.integration

ROWS = 60_000
KILLS = 5


@pytest.fixture(scope="module")
def plan(live: Context) -> Plan:
    return plans.read(live.layout.plan_file)


def _query(context: Context, table: CapturedTable, sql: str, folder: Path, *, state: bool = False) -> list[Any]:
    """Rows of ``sql``, in which {} stands for the table's changes or its state."""
    names, columns = context.names, schema.state(table) if state else schema.changes(table)
    name = names.lake_state(table.source, table.table) if state else names.lake_changes(table.source, table.table)
    with connect(folder) as connection:
        return connection.execute(sql.format(scan(context.layout.lake / name, columns))).fetchall()


def _until(what: str, seconds: float, holds: Any) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s until {what}"
        time.sleep(0.05)


def test_each_captured_record_is_in_the_lake_once(live: Context, plan: Plan, tmp_path: Path) -> None:
    for table in plan.tables:
        sql = 'SELECT count(*), count(DISTINCT ("partition", "offset")), count(DISTINCT commit_date) FROM {}'
        rows, offsets, days = _query(live, table, sql, tmp_path)[0]
        assert rows == offsets > 0, table.table
        assert days <= 3, "a history that was there before stands in the day of its capture"


def test_what_the_business_commits_is_in_the_lake_and_in_its_state(
    live: Context, plan: Plan, sample_db: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    table = next(each for each in plan.tables if each.table == "public.transactions")
    key = 9_000_000_000 + time.time_ns() // 1_000_000 % 1_000_000_000
    where = sample_db.execute("SELECT customer_id, terminal_id, tx_datetime FROM transactions LIMIT 1").fetchone()
    assert where is not None
    sample_db.execute("INSERT INTO transactions VALUES (%s, %s, %s, %s, 12.34)", (key, where[2], where[0], where[1]))
    sample_db.execute("DELETE FROM transactions WHERE transaction_id = %s", (key,))
    sql = f"""SELECT op, coalesce(after_tx_amount, before_tx_amount)::VARCHAR, position, epoch_us(known_at), assumed
              FROM {{}} WHERE {key} IN (after_transaction_id, before_transaction_id) ORDER BY position"""
    _until("the change table has both", 30, lambda: len(_query(live, table, sql, tmp_path)) == 2)
    inserted, deleted = _query(live, table, sql, tmp_path)
    assert (inserted[0], deleted[0]) == ("c", "d")
    assert inserted[1] == deleted[1] == "12.34", "a delete keeps the old row: replica identity full"
    assert inserted[2] < deleted[2]
    assert abs(inserted[3] - time.time() * 1e6) < 60e6 and not inserted[4]


def test_state_is_the_business_table(
    live: Context, plan: Plan, sample_db: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    """Of rows older than what the state may lag behind."""
    table = next(each for each in plan.tables if each.table == "public.transactions")
    wait = 3 * live.settings.lake.state_interval_ms / 1000 + 30
    counted = sample_db.execute(
        "SELECT count(*), sum(tx_amount), max(transaction_id) FROM transactions WHERE transaction_id < 9000000000"
    ).fetchone()
    assert counted is not None
    sql = f"SELECT count(*), sum(tx_amount) FROM {{}} WHERE transaction_id <= {counted[2]}"
    _until(
        "the state has every row", wait, lambda: _query(live, table, sql, tmp_path, state=True)[0] == tuple(counted[:2])
    )


@pytest.fixture
def apart(live: Context, tmp_path: Path) -> Iterator[Context]:
    """A home of its own, on the appliance's Kafka and Redis, with a plan that captures one topic nobody else reads."""
    home = Layout.below(tmp_path)
    home.secrets.mkdir(parents=True)
    for secret in ("kafka.writer-lake", "redis.writer-lake"):
        shutil.copy(live.layout.secrets / secret, home.secrets / secret)
    shutil.copy(live.layout.installation_file, home.installation_file)
    topic = live.names.cdc("lake-test", f"public.accounts_{time.time_ns()}")
    table = msgspec.structs.replace(TABLE, topic=topic)
    plans.write(Plan("test", (table,), (), ()), home.plan_file)
    shutil.chown(tmp_path, live.installation.user)
    kafka.ensure_topics(live, {topic: {"partitions": "1"}})
    yield Context(home, live.installation, live.settings, live.secrets)
    control = kafka.admin(live)
    for future in control.delete_topics([topic]).values():
        kafka.result(future, "delete the test's topic")


def _commits(table: Path) -> int:
    return len(list(table.glob("_delta_log/*.json")))


def _start(context: Context, live: Context) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ, "APPLIANCE_HOME": str(context.layout.etc.parent), "PYTHONPATH": str(live.layout.code),
        "APPLIANCE_SETTING_LAKE__STATE_INTERVAL_MS": "1000", "APPLIANCE_SETTING_LAKE__FLUSH_ROWS": "1000",
    }  # fmt: skip
    return subprocess.Popen([live.python(), "-m", "stream_jobs.lake.writer"], env=environment)


def test_kill_at_any_time_loses_and_doubles_nothing(live: Context, apart: Context, tmp_path: Path) -> None:
    """Rows, broken records and markers in; KILLS kills; every row is there once, every broken record put aside."""
    (table,) = plans.read(apart.layout.plan_file).tables
    producer = kafka.producer(live, users.ADMINISTRATOR)
    broken = set()
    for offset in range(ROWS):
        value = change("c", offset, row(offset)).value
        if offset % 10_000 == 77:
            value, _ = b'{"op":"c"', broken.add(offset)
        elif offset % 1000 == 500:
            value = b'{"op":"m","source":{"ts_us":1},"channel":"","position":"' + b"0" * 32 + b'"}'
        producer.produce(table.topic, value)
        if offset % 1000 == 0:
            producer.flush()
    producer.flush()
    expected = [n for n in range(ROWS) if n not in broken and n % 1000 != 500]
    folder = apart.layout.lake / apart.names.lake_changes(table.source, table.table)
    seconds = random.Random(7)
    for _ in range(KILLS):
        commits = _commits(folder)
        writer = _start(apart, live)
        _until("it writes", 60, lambda before=commits: _commits(folder) > before)
        time.sleep(seconds.random() / 4)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    writer = _start(apart, live)
    try:
        sql = 'SELECT count(*), count(DISTINCT "offset"), coalesce(sum("offset"), 0)::BIGINT FROM {}'
        whole = (len(expected), len(expected), sum(expected))
        _until("every row is there", 120, lambda: _query(apart, table, sql, tmp_path)[0] == whole)
        time.sleep(2)
        assert _query(apart, table, sql, tmp_path)[0] == whole, "nothing comes twice later"
    finally:
        writer.send_signal(signal.SIGTERM)
        assert writer.wait(30) == 0
    assert _dead_letters(live, table.topic) == broken


def _dead_letters(live: Context, topic: str) -> set[int]:
    """Offsets of the topic's records that stand in the writer's dead-letter topic."""
    reader: Consumer = kafka.consumer(live, users.ADMINISTRATOR, f"{live.names.tenant}.lake-test")
    letters = live.names.dead_letters("writer-lake")
    _, end = reader.get_watermark_offsets(TopicPartition(letters, 0), timeout=10)
    reader.assign([TopicPartition(letters, 0, 0)])
    found, at = set(), 0
    deadline = time.monotonic() + 30
    while at < end:
        assert time.monotonic() < deadline, f"read {at} of {end} dead letters"
        for message in reader.consume(1000, 1.0):
            assert message.error() is None
            at = (message.offset() or 0) + 1
            letter = msgspec.json.decode(message.value() or b"", type=DeadLetter)
            if letter.topic == topic:
                assert letter.code == "lake.broken_change" and letter.reader == "writer-lake"
                found.add(letter.offset)
    reader.close()
    return found
