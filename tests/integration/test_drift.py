"""`appliance drift` on the running appliance: figures, a notice while a limit is passed, the API."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from appliance import notices
from appliance.parts.base import Context
from stream_jobs.lake import delta
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration


def drift(context: Context) -> tuple[int, dict[str, Any]]:
    """The command as an operator gives it."""
    command = [str(context.layout.bin / "appliance"), "drift", api.SERVICE, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, json.loads(done.stdout)


@pytest.fixture
def scored(live: Context) -> None:
    """Some predictions of the version that serves are in the ledger."""
    ledger = live.layout.lake / live.names.lake_ledger(api.SERVICE)
    row = api.payment(live)
    with api.app_client(live) as client:
        answer = client.post(api.PREDICT, json={"rows": [row]})
        assert answer.status_code == 200

    def arrived() -> bool:
        keys = delta.open_table(ledger).to_pyarrow_table(columns=["event_key"])["event_key"].to_pylist()
        return str(row["transaction_id"]) in keys

    api.eventually(arrived, 60)


@pytest.fixture
def put_back(live: Context) -> Iterator[None]:
    """No notice of the test's stays."""
    yield
    notices.take_back(live.layout, f"drift-{api.SERVICE}")


@pytest.mark.usefixtures("scored", "put_back")
def test_what_is_served_is_compared_and_shown(live: Context) -> None:
    status, found = drift(live)
    assert found["rows"] >= 1 and found["training_rows"] > 1_000 and len(found["features"]) == 15
    assert found["labels"]["labels"] > 0 and found["labels"]["median_hours"] > 0
    posted = {one.name for one in notices.read(live.layout)}
    assert (f"drift-{api.SERVICE}" in posted) == bool(found["findings"]) == (status == 1)
    with api.app_client(live) as client:
        (shown,) = client.get("/v1/drift").json()
        assert 'appliance_drift_psi{service="card_fraud",feature="request:amount"}' in client.get("/metrics").text
    assert shown == found
