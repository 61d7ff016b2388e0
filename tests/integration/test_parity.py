"""`appliance parity` on the running appliance: served values are those of HBase and of training, or it says which."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import position as positions
from appliance.clients import hbase
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.lake import delta
from stream_jobs.online import hbase_table
from stream_jobs.online.hbase_read import HBaseHistory
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


def parity(context: Context, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """The command as an operator gives it: exit status and certificates."""
    command = [str(context.layout.bin / "appliance"), "parity", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    answer = json.loads(done.stdout)
    assert "certificates" in answer, answer
    certificates: list[dict[str, Any]] = answer["certificates"]
    return done.returncode, certificates


@pytest.fixture
def scored(live: Context) -> tuple[str, list[str], dict[str, Any]]:
    """When it began, the ids of five predictions (CDC, HTTP and Kafka), and the last row that was scored."""
    began = datetime.now(UTC).isoformat()
    rows = [api.payment(live, tx_amount=f"{n + 1}7.13") for n in range(5)]
    keys = [str(row["transaction_id"]) for row in rows]
    with api.tail(live, live.names.predictions(api.SERVICE)) as reading, api.app_client(live) as client:
        for row in rows[:2]:
            assert client.post(api.PREDICT, json={"rows": [row]}).status_code == 200
        api.send(live, live.names.requests(api.SERVICE), json.dumps({"request_id": keys[2], "row": rows[2]}).encode())
        for row in rows[3:]:
            api.insert(live, row)
        values = reading.values(60, lambda seen: set(keys) <= {json.loads(one)["event_key"] for one in seen})
        ids = [one["prediction_id"] for one in map(json.loads, values) if one["event_key"] in keys]
    assert len(ids) == len(rows)
    ledger = live.layout.lake / live.names.lake_ledger(api.SERVICE)

    def arrived() -> bool:
        table = delta.open_table(ledger).to_pyarrow_table(columns=["prediction_id"])
        return set(ids) <= set(table["prediction_id"].to_pylist())

    api.eventually(arrived, 60)
    return began, ids, rows[-1]


def test_served_values_are_proven_and_a_missing_cell_is_found(
    live: Context, scored: tuple[str, list[str], dict[str, Any]]
) -> None:
    began, ids, row = scored
    status, made = parity(live, api.SERVICE, "--all", "--since", began)
    by_view = {one["view"]: one for one in made}
    assert set(by_view) == {"customer_payments", "terminal_labels", f"{api.SERVICE}.request"}
    assert {one["rows_different"] for one in made} == {0}, made
    assert status == 0
    assert all(one["rows_compared"] >= len(ids) and not one["not_compared"] for one in made)
    assert all(Path(one["file"]).parent.parent == live.layout.data / "parity" for one in made)

    plan = plans.read(live.layout.plan_file)
    view, entity = plan.view("customer_payments"), str(row["customer_id"])
    edits = HBaseHistory.of(live).edits(view, entity, positions.LAST)
    before = [
        edit for edit in edits if edit.event_time < row["tx_datetime"] and edit.row_id != str(row["transaction_id"])
    ]
    lost = before[-1]
    key, column = hbase_table.row_key(entity), hbase_table.column(lost)
    with hbase.connect(live) as connection:
        table = connection.table(live.names.hbase_table(view.name, view.version))
        table.delete(key, columns=[column])
        try:
            status, made = parity(live, api.SERVICE, "--all", "--since", began)
        finally:
            time.sleep(0.01)
            table.put(key, {column: msgspec.json.encode(lost)})
    by_view = {one["view"]: one for one in made}
    assert status == 1
    assert by_view["terminal_labels"]["rows_different"] == 0
    found = by_view["customer_payments"]
    assert found["rows_different"] >= 1
    explained = found["first_difference"]
    assert (explained["entity"], explained["only_in_hbase"], explained["differing"]) == (entity, [], [])
    assert [(one["row_id"], one["position"]) for one in explained["only_in_lake"]] == [(lost.row_id, lost.position)]
    assert explained["values"]["logged"] == explained["values"]["lake"] != explained["values"]["hbase"]
