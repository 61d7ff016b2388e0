"""Sources and replay on the running appliance: the road of somebody else's administrator, and the sample's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import kafka, postgres
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.ports import Port
from stream_jobs.source import postgres_sql, record, service

pytestmark = pytest.mark.integration


def _appliance(context: Context, *words: str) -> dict[str, Any]:
    command = context.layout.bin / "appliance"
    done = subprocess.run([command, *words, "--json"], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 0, answer
    return answer


def _schema(context: Context, database: str) -> str:
    done = subprocess.run(
        ["/usr/lib/postgresql/15/bin/pg_dump", "-s", "-h", "127.0.0.1", "-p", str(context.port(Port.SAMPLE_DB)),
         "-U", "postgres", database],
        env={"PGPASSWORD": context.secrets.get("sampledb.postgres"), "PATH": os.defpath},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith(("\\", "--")))


@pytest.fixture
def other(live: Context) -> Iterator[str]:
    """Another business database, whose administrator is not the appliance; its alias, database and role name."""
    name = f"other_{uuid.uuid4().hex[:8]}"
    with postgres.sample(live, role="postgres") as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    with postgres.sample(live, role="postgres", database=name) as connection:
        connection.execute(b"CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2), note text)")
        connection.execute(b"CREATE INDEX ON orders (note)")
        connection.execute(b"INSERT INTO orders SELECT n, n * 1.25, 'old' FROM generate_series(1, 500) n")
    yield name
    source = record.read(live, name)
    if source is not None:
        service.remove(live, source, lambda text: None)
    with postgres.sample(live, role="postgres") as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        connection.execute(f"DROP ROLE IF EXISTS {name}".encode())
    topics = [topic for topic in kafka.admin(live).list_topics(timeout=10).topics if f".{name}." in f"{topic}."]
    kafka.admin(live).delete_topics(topics)


def _changes(context: Context, topic: str, wanted: int, seconds: float = 30.0) -> list[dict[str, Any]]:
    """The first ``wanted`` changes of a topic, or those that came in time; without markers."""
    consumer = kafka.consumer(context, users.ADMINISTRATOR, f"main.appliance.test-{uuid.uuid4().hex}")
    consumer.assign([TopicPartition(topic, 0, 0)])
    found: list[dict[str, Any]] = []
    limit = time.monotonic() + seconds
    while len(found) < wanted and time.monotonic() < limit:
        message = consumer.poll(0.5)
        if message is not None and not message.error():
            change = json.loads(message.value())
            found += [change] if change["op"] != "m" else []
    consumer.close()
    return found


def test_another_database_is_captured_and_given_back_as_it_was(live: Context, other: str) -> None:
    address = record.parse_address(f"postgresql://{other}@127.0.0.1:{live.port(Port.SAMPLE_DB)}/{other}")
    source = service.describe(live, other, address, ["orders"], sample=False)
    before = _schema(live, other)

    with pytest.raises(ApplianceError) as refused:
        service.add(live, source, lambda text: None)
    assert refused.value.code == "source.no_connection"
    with postgres.sample(live, role="postgres", database=other) as administrator:
        script = service.administrators_script(live, source)
        incomplete = script.replace('ALTER TABLE "public"."orders" REPLICA IDENTITY FULL;', "")
        assert incomplete != script
        administrator.execute(incomplete.encode())
        with pytest.raises(ApplianceError) as unchecked:
            service.add(live, source, lambda text: None)
        assert unchecked.value.context["failed"] == ["replica identity of public.orders"]
        administrator.execute(b"ALTER TABLE orders REPLICA IDENTITY FULL")

        report = service.add(live, source, lambda text: None)
        assert all(check.ok for check in report.checks)
        administrator.execute(b"INSERT INTO orders VALUES (501, 0.10, 'new')")
        administrator.execute(b"UPDATE orders SET amount = 0.20 WHERE id = 501")
        administrator.execute(b"DELETE FROM orders WHERE id = 501")
        changes = _changes(live, live.names.cdc(other, "public.orders"), 503)
        assert [change["op"] for change in changes] == ["r"] * 500 + ["c", "u", "d"]
        assert changes[-2]["before"] == {"id": 501, "amount": "0.10", "note": "new"}
        assert changes[-1]["before"]["amount"] == "0.20"

        assert service.remove(live, source, lambda text: None) == []
        slots = administrator.execute(
            b"SELECT slot_name FROM pg_replication_slots WHERE slot_name = %s", (source.publication,)
        ).fetchall()
        assert slots == []
        for line in postgres_sql.undo(source):
            administrator.execute(line.encode())
    assert _schema(live, other) == before


def test_the_sample_source_passes_every_check(live: Context) -> None:
    answer = _appliance(live, "source", "check", "bank")
    lately = "records of the last 24 h that could not be used"  # other tests send such records on purpose
    assert all(check["ok"] for check in answer["checks"] if check["point"] != lately)
    assert len(answer["checks"]) > 15


def test_only_what_is_listed_was_touched_in_the_sample_database(live: Context) -> None:
    with postgres.sample(live, role="postgres") as administrator:
        schemas = administrator.execute(
            b"SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
        ).fetchall()
        slots = administrator.execute(b"SELECT slot_name FROM pg_replication_slots WHERE database = 'bank'").fetchall()
        publications = administrator.execute(b"SELECT pubname FROM pg_publication").fetchall()
    assert {name for (name,) in schemas} == {"public", "appliance_cdc"}
    assert slots == publications == [("appliance_bank",)]


def test_replay_goes_on_exactly_after_a_kill(live: Context) -> None:
    before = _appliance(live, "sample", "status")
    if before["remaining"] < 400:
        pytest.skip(f"only {before['remaining']} rows are left to replay")
    started = _appliance(live, "sample", "replay", "--background", "--rate", "100", "--rows", "100000")
    time.sleep(1.5)
    os.kill(started["pid"], signal.SIGKILL)
    killed = _appliance(live, "sample", "status")
    assert killed["replaying"] is None
    assert before["position"] < killed["position"] < before["position"] + 390
    assert _committed(live) == killed["position"] + sum(killed["history"].values())
    done = _appliance(live, "sample", "replay", "--fast", "--rows", "10")
    assert (done["committed"], done["position"]) == (10, killed["position"] + 10)
    assert _committed(live) == done["position"] + sum(killed["history"].values())


def _committed(context: Context) -> int:
    """Rows of the sample in the business database; keys from a thousand million on are those of tests."""
    with postgres.sample(context, role="postgres") as connection:
        row = connection.execute(
            b"SELECT (SELECT count(*) FROM transactions WHERE transaction_id < 1000000000) "
            b"+ (SELECT count(*) FROM transaction_labels WHERE transaction_id < 1000000000)"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_the_connectors_role_may_read_and_nothing_else(live: Context) -> None:
    with postgres.sample(live, role="postgres") as administrator:
        administrator.execute(b"CREATE TABLE public.payroll_of_this_test (id bigint PRIMARY KEY)")
        may = administrator.execute(
            b"SELECT has_table_privilege('appliance_cdc', 'public.transactions', 'SELECT'), "
            b"has_table_privilege('appliance_cdc', 'public.transactions', 'INSERT, UPDATE, DELETE, TRUNCATE'), "
            b"has_table_privilege('appliance_cdc', 'public.payroll_of_this_test', 'SELECT')"
        ).fetchone()
        administrator.execute(b"DROP TABLE public.payroll_of_this_test")
    assert may == (True, False, False)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host="127.0.0.1", port=live.port(Port.SAMPLE_DB), dbname="bank", user="appliance_cdc", password="wrong"
        )
