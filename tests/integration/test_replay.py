"""`appliance replay` on the running appliance: past predictions are equal, and a changed row of the ledger is named."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import write_deltalake

from appliance.parts.base import Context
from stream_jobs.lake import delta
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


def replay(context: Context, *words: str) -> tuple[int, dict[str, Any]]:
    """The command as an operator gives it: exit status and answer."""
    command = [str(context.layout.bin / "appliance"), "replay", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    answer: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, answer


def _ledger(context: Context) -> Path:
    return context.layout.lake / context.names.lake_ledger(api.SERVICE)


@pytest.fixture
def scored(live: Context) -> tuple[str, dict[str, str]]:
    """When it began, and way → id of predictions that are in the ledger."""
    began = datetime.now(UTC).isoformat()
    rows = [api.payment(live, tx_amount=f"{n + 1}3.57") for n in range(3)]
    keys = [str(row["transaction_id"]) for row in rows]
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading, api.app_client(live) as client:
        assert client.post(api.PREDICT, json={"rows": [rows[0]]}).status_code == 200
        api.send(live, live.names.requests(api.SERVICE), json.dumps({"request_id": keys[1], "row": rows[1]}).encode())
        api.insert(live, rows[2])
        values = reading.values(60, lambda seen: set(keys) <= {json.loads(one)["event_key"] for one in seen})
    ids = {one["way"]: one["prediction_id"] for one in map(json.loads, values) if one["event_key"] in keys}
    assert set(ids) == {"http", "kafka", "cdc"}

    def arrived() -> bool:
        table = delta.open_table(_ledger(live)).to_pyarrow_table(columns=["prediction_id"])
        return set(ids.values()) <= set(table["prediction_id"].to_pylist())

    api.eventually(arrived, 60)
    return began, ids


def test_predictions_of_every_way_replay_equal(live: Context, scored: tuple[str, dict[str, str]]) -> None:
    status, found = replay(live, *scored[1].values())
    assert {one["outcome"] for one in found["results"]} == {"equal"}, found
    assert (status, found["predictions"], found["equal"]) == (0, 3, 3)


def test_an_id_that_nobody_gave_is_unknown(live: Context) -> None:
    status, found = replay(live, "01900000-0000-7000-8000-000000000000")
    assert status == 1 and found["error"]["code"] == "replay.unknown"


@pytest.fixture
def forged(live: Context, scored: tuple[str, dict[str, str]]) -> Iterator[dict[str, str]]:
    """What is wrong → id of a copy of a prediction in the ledger; the copies are taken out afterwards."""
    table = delta.open_table(_ledger(live))
    rows = table.to_pyarrow_table()
    (row,) = [one for one in rows.to_pylist() if one["prediction_id"] == scored[1]["http"]]
    features, cuts = json.loads(row["features"]), json.loads(row["cuts"])
    features["request:amount"]["value"] += 1
    wrong: dict[str, dict[str, Any]] = {
        "feature": {"features": msgspec.json.encode(features).decode()},
        "cut": {"cuts": msgspec.json.encode(cuts | {"customer_payments": "f" * 32}).decode()},
        "score": {"score": row["score"] + 1e-3},
        "decision": {"decision": "decline" if row["decision"] != "decline" else "approve"},
        "definition": {"definition_hash": "0" * 64},
        "version": {"model_version": "999999"},
    }
    ids = {what: f"01900000-0000-7000-8000-{number:012d}" for number, what in enumerate(wrong)}
    copies = [row | changed | {"prediction_id": ids[what]} for what, changed in wrong.items()]
    write_deltalake(str(_ledger(live)), pa.Table.from_pylist(copies, rows.schema), mode="append")
    try:
        yield ids
    finally:
        listed = ", ".join(f"'{one}'" for one in ids.values())
        delta.open_table(_ledger(live)).delete(f"prediction_id IN ({listed})")


def test_what_was_changed_in_the_ledger_is_named(live: Context, forged: dict[str, str]) -> None:
    status, found = replay(live, *forged.values())
    by_id = {one["prediction_id"]: one for one in found["results"]}
    results = {what: by_id[forged[what]] for what in forged}
    assert status == 1 and found["equal"] == 0, found
    assert {what: one["difference"]["what"] for what, one in results.items() if one["difference"]} == {
        "feature": "feature", "cut": "cut", "score": "score", "decision": "decision",
    }  # fmt: skip
    assert results["feature"]["difference"]["name"] == "request:amount"
    assert results["definition"]["reason"] == "the definition that it names was not kept"
    assert "no version card_fraud 999999" in results["version"]["reason"]


def test_a_sample_of_the_ledger_replays_equal(live: Context, scored: tuple[str, dict[str, str]]) -> None:
    status, found = replay(live, "--service", api.SERVICE, "--sample", "200", "--seed", "5", "--since", scored[0])
    assert status == 0 and found["predictions"] >= 3, found
