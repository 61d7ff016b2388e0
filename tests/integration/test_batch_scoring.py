"""``appliance score`` on the running appliance: as committed rows were scored, as the API scores, and after a kill."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.parts.base import Context
from gateway.batch import job, results
from stream_jobs import plan as plans
from stream_jobs.lake import schema
from stream_jobs.lake.reading import scan
from tests.integration import gateway_api as api

pytestmark = pytest.mark.integration
_TABLE = "public.transactions"


@pytest.fixture
def name(live: Context) -> Iterator[str]:
    """Of a result that is taken away after the test."""
    made = f"test_{uuid.uuid4().hex[:10]}"
    yield made
    for path in (live.layout.lake / live.names.lake_scores(made), live.layout.lake / live.names.lake_rejects(made)):
        shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(live.data("batch") / made, ignore_errors=True)


def _command(live: Context, name: str, source: str, *words: str) -> list[str]:
    appliance = str(live.layout.bin / "appliance")
    return [appliance, "score", api.SERVICE, "--from", source, "--to", name, *words, "--json"]


def _score(live: Context, name: str, source: str, *words: str) -> dict[str, Any]:
    done = subprocess.run(_command(live, name, source, *words), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _rows(live: Context, name: str) -> list[dict[str, Any]]:
    columns = results.scores_schema(plans.read(live.layout.plan_file).service(api.SERVICE))
    query = f"FROM {scan(live.layout.lake / live.names.lake_scores(name), columns)} ORDER BY number"
    found: list[dict[str, Any]] = duckdb.sql(query).to_arrow_table().to_pylist()
    return found


def test_committed_rows_get_the_features_and_the_score_that_they_got_live(live: Context, name: str) -> None:
    """The newest payments that were scored as they were committed, against their rows in the ledger."""
    ledger = scan(live.layout.lake / live.names.lake_ledger(api.SERVICE), schema.LEDGER)
    query = f"""SELECT event_key, source_position, score, decision, features, model_version FROM {ledger}
                WHERE way = 'cdc' AND NOT behind AND cuts::JSON->>'$.customer_payments' = source_position
                AND cuts::JSON->>'$.terminal_labels' = source_position ORDER BY source_position DESC LIMIT 300"""
    logged = {row["event_key"]: row for row in duckdb.sql(query).to_arrow_table().to_pylist()}
    if not logged:
        pytest.fail("no payment of this appliance has been scored as it was committed: appliance sample replay")
    keys = ",".join(logged)
    answer = _score(live, name, _TABLE, "--where", f"transaction_id IN ({keys})")
    found = {row["event_key"]: row for row in _rows(live, name)}
    assert answer["rejected"] == 0 and answer["scored"] == len(found) == answer["rows"]
    same = [key for key, row in found.items() if row["position"] == logged[key]["source_position"]]
    assert len(same) >= 0.9 * len(logged), "payments that nobody changed later stand at the position they came at"
    for key in same:
        served = json.loads(logged[key]["features"])
        for feature, value in served.items():
            column = results.feature_column(feature)
            assert found[key][column] == pytest.approx(value["value"], rel=1e-12, nan_ok=True), (key, feature)
        if found[key]["model_version"] == logged[key]["model_version"]:
            assert found[key]["score"] == pytest.approx(logged[key]["score"], abs=1e-6)
    before = Path(answer["scores"]).stat()
    assert _score(live, name, _TABLE, "--where", f"transaction_id IN ({keys})") == answer, "said again, it is the same"
    assert Path(answer["scores"]).stat().st_mtime == before.st_mtime
    refused = subprocess.run(_command(live, name, _TABLE), capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and json.loads(refused.stdout)["error"]["code"] == "batch.other_inputs"


def test_a_file_is_scored_as_the_api_scores_and_bad_rows_are_named(live: Context, name: str, tmp_path: Path) -> None:
    payments = [api.payment(live, tx_amount=f"{amount}.50") for amount in (3, 80, 900)]
    wrong = api.payment(live, tx_amount="a lot")
    path = tmp_path / "payments.parquet"
    pq.write_table(pa.Table.from_pylist([*payments, wrong, api.payment(live, terminal_id=None)]), path)
    for place in (path, *path.parents[:3]):
        place.chmod(0o755)
    answer = _score(live, name, str(path))
    assert (answer["rows"], answer["scored"], answer["rejected"]) == (5, 3, 2)
    assert answer["reasons"] == {"row.invalid": 2}
    with api.app_client(live) as client:
        asked = client.post(api.PREDICT, json={"rows": payments}).json()["predictions"]
    for row, served in zip(_rows(live, name), asked, strict=True):
        for feature, value in served["features"].items():
            assert row[results.feature_column(feature)] == pytest.approx(value["value"], rel=1e-12), feature
        assert row["score"] == pytest.approx(served["score"], abs=1e-6)
        assert row["way"] == "batch" and row["prediction_id"] != served["prediction_id"]


def test_killed_half_way_it_goes_on_and_no_row_is_there_twice(live: Context, name: str) -> None:
    place = live.data("batch") / name
    process = subprocess.Popen(
        _command(live, name, _TABLE, "--chunk-rows", "5000"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    log = live.layout.lake / live.names.lake_scores(name) / "_delta_log"
    deadline = time.monotonic() + 120
    while not (log / f"{1:020}.json").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    what = job.read(place)
    assert what is not None and what.summary is None
    answer = _score(live, name, _TABLE)
    assert what.rows > 10_000, "the kill was in the middle"
    assert answer["scored"] + answer["rejected"] == answer["rows"] == what.rows
    numbers = [row["number"] for row in _rows(live, name)]
    assert len(set(numbers)) == len(numbers) == answer["scored"]
    assert not job.input_file(place).exists()
