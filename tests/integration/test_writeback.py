"""Predictions in the business database's own table: live and of a batch, through a kill and a database that is away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from appliance.clients import postgres
from appliance.parts.base import Context
from appliance.ports import Port
from appliance.supervisor import Supervisor
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration
_TABLE = "appliance_test_scores.predictions"


def _appliance(live: Context, *words: str) -> tuple[int, dict[str, Any]]:
    command = [str(live.layout.bin / "appliance"), *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


@pytest.fixture
def bank(live: Context) -> Iterator[psycopg.Connection[Any]]:
    """The sample database as its administrator; what the tests made there is gone afterwards."""
    with postgres.sample(live, role="postgres") as connection:
        yield connection
        _appliance(live, "writeback", "remove", api.SERVICE)
        connection.execute(b"DROP SCHEMA IF EXISTS appliance_test_scores CASCADE")


@pytest.fixture
def written(live: Context, bank: psycopg.Connection[Any]) -> psycopg.Connection[Any]:
    status, answer = _appliance(live, "writeback", "add", api.SERVICE, "--table", _TABLE)
    assert status == 0, answer
    assert all(each["ok"] for each in answer["checks"])
    return bank


def _until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def _row(bank: psycopg.Connection[Any], event_key: int) -> tuple[Any, ...] | None:
    query = f"SELECT prediction_id::text, score, decision, way FROM {_TABLE} WHERE event_key = %s"
    return bank.execute(query.encode(), (event_key,)).fetchone()


def _caught_up(live: Context) -> bool:
    _, answer = _appliance(live, "writeback", "check", api.SERVICE)
    return bool(answer["waiting"] == 0)


def test_every_prediction_comes_and_the_newest_of_an_event_stays(
    live: Context, written: psycopg.Connection[Any]
) -> None:
    payment = api.payment(live)
    with api.app_client(live) as client:
        first = client.post(api.PREDICT, json={"rows": [payment]}).json()["predictions"][0]
        _until(lambda: _row(written, payment["transaction_id"]) is not None, 30, "the prediction")
        assert _row(written, payment["transaction_id"]) == (
            first["prediction_id"], pytest.approx(first["score"]), first["decision"], "http"
        )  # fmt: skip
        second = client.post(api.PREDICT, json={"rows": [payment | {"tx_amount": "999.99"}]}).json()["predictions"][0]
    _until(lambda: (_row(written, payment["transaction_id"]) or ("",))[0] == second["prediction_id"], 10, "the newer")


def test_killed_in_the_middle_each_prediction_is_there_once(live: Context, written: psycopg.Connection[Any]) -> None:
    sent: dict[int, str] = {}
    kills = 0
    with api.app_client(live) as client:
        for round_ in range(12):
            payments = [api.payment(live) for _ in range(25)]
            answered = client.post(api.PREDICT, json={"rows": payments}).json()["predictions"]
            sent |= {p["transaction_id"]: a["prediction_id"] for p, a in zip(payments, answered, strict=True)}
            if round_ % 4 == 1:
                os.kill(Supervisor(live).states()["writeback"].pid, signal.SIGKILL)
                kills += 1
    assert kills == 3
    _until(lambda: _caught_up(live), 60, "the writer to catch up after it was killed")
    query = f"SELECT event_key, prediction_id::text FROM {_TABLE} WHERE event_key = ANY(%s)"
    assert dict(written.execute(query.encode(), (list(sent),)).fetchall()) == sent
    total, keys = written.execute(f"SELECT count(*), count(DISTINCT event_key) FROM {_TABLE}".encode()).fetchone() or ()
    assert total == keys


def test_a_table_that_takes_nothing_is_a_notice_and_nothing_is_lost(
    live: Context, written: psycopg.Connection[Any]
) -> None:
    role = "appliance_writeback_card_fraud"
    written.execute(f"REVOKE INSERT ON {_TABLE} FROM {role}".encode())
    payment = api.payment(live)
    with api.app_client(live) as client:
        client.post(api.PREDICT, json={"rows": [payment]}).raise_for_status()
    notice = live.layout.notices / "writeback-card_fraud.json"
    _until(notice.exists, 40, "the notice")
    status, answer = _appliance(live, "writeback", "check", api.SERVICE)
    assert status == 1 and "INSERT" in str([each["todo"] for each in answer["checks"] if not each["ok"]])
    written.execute(f"GRANT INSERT ON {_TABLE} TO {role}".encode())
    _until(lambda: _row(written, payment["transaction_id"]) is not None and not notice.exists(), 30, "the row")


def test_a_captured_table_is_refused_and_a_foreign_administrator_gets_the_sql(
    live: Context, bank: psycopg.Connection[Any], tmp_path: Path
) -> None:
    status, answer = _appliance(live, "writeback", "add", api.SERVICE, "--table", "public.transactions")
    assert status == 1 and answer["error"]["code"] == "writeback.captured"
    url = f"postgresql://127.0.0.1:{live.port(Port.SAMPLE_DB)}/bank"
    words = ("writeback", "add", api.SERVICE, "--table", _TABLE, "--url", url, "--by", "prediction")
    status, answer = _appliance(live, *words)
    assert status == 1 and answer["error"]["code"] == "writeback.no_connection", "nobody has run the SQL yet"
    _, answer = _appliance(live, *words, "--print-sql")
    bank.execute(answer["sql"].encode())
    status, answer = _appliance(live, *words)
    assert status == 0, answer
    bank.execute(f"CREATE PUBLICATION appliance_loop FOR TABLE {_TABLE}".encode())
    status, answer = _appliance(live, "writeback", "check", api.SERVICE)
    bank.execute(b"DROP PUBLICATION appliance_loop")
    assert status == 1 and [each["found"] for each in answer["checks"] if not each["ok"]] == ["appliance_loop"]
    _, answer = _appliance(live, "writeback", "remove", api.SERVICE)
    bank.execute(answer["undo_sql"].encode())
    left = bank.execute(b"SELECT count(*) FROM pg_roles WHERE rolname LIKE 'appliance_writeback%'").fetchone()
    assert left == (0,)


def test_a_batch_is_written_back_too(live: Context, written: psycopg.Connection[Any]) -> None:
    name = f"test_back_{time.time_ns()}"
    keys = [
        row[0]
        for row in written.execute(
            b"SELECT transaction_id FROM public.transactions ORDER BY tx_datetime, transaction_id LIMIT 40"
        )
    ]
    where = f"transaction_id IN ({','.join(map(str, keys))})"
    status, answer = _appliance(
        live, "score", api.SERVICE, "--from", "public.transactions", "--to", name, "--where", where, "--write-back"
    )
    assert status == 0 and answer["scored"] == 40, answer
    query = f"SELECT count(*), bool_and(way = 'batch') FROM {_TABLE} WHERE event_key = ANY(%s)"
    assert written.execute(query.encode(), (keys,)).fetchone() == (40, True)
