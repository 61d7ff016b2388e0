"""A batch over a Parquet file: what is scored, what is rejected, and what a kill leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from appliance.clients.triton_repository import TritonModelError, TritonUnavailableError
from appliance.errors import ApplianceError, UsageError
from appliance.installation import Installation
from appliance.layout import Layout
from appliance.parts.base import Context
from appliance.secrets import Secrets
from appliance.settings import Settings
from gateway.batch import intake, job, results
from gateway.batch.job import Asked, Job
from gateway.batch.pace import Pace, rest_seconds
from gateway.batch.rows import Row
from gateway.batch.run import Progress, Tools, run
from gateway.errors import BatchError
from stream_jobs.lake.reading import scan
from tests.unit.gateway.example import PLAN, SERVICE, explain

NOON = datetime(2026, 6, 7, 12, tzinfo=UTC)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    layout = Layout.below(tmp_path / "home")
    return Context(
        layout, Installation("0", 1, "root", "main", "test", "", {}, {}), Settings(), Secrets(layout.secrets)
    )


def _file(path: Path, rows: int, **columns: Any) -> Path:
    """``rows`` orders of 1.00, 2.00 …"""
    table = {
        "id": list(range(rows)),
        "at": pa.array([NOON] * rows, pa.timestamp("us", tz="UTC")),
        "customer_id": [42] * rows,
        "amount": [f"{n + 1}.00" for n in range(rows)],
        "note": ["gift"] * rows,
    } | columns
    pq.write_table(pa.table(table), path)
    return path


def _historical(rows: Sequence[Row]) -> pa.Table:
    names = ("spending:count_7d", "spending:amount_mean_1d", "spending:returned_rate_2h")
    return pa.table({name: pa.array([float(row.number) for row in rows]) for name in names})


def _infer(inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], str]:
    """A hundredth of the amount, which is the first input."""
    return (inputs[:, 0] / 100).astype(np.float32), "7"


def _begin(context: Context, path: Path, where: str = "", chunk_rows: int = 10) -> tuple[Path, Job]:
    place = job.folder(context, "result")
    place.mkdir(parents=True, exist_ok=True)
    rows = intake.stage(context, PLAN, SERVICE, str(path), "f" * 32, where, "", job.input_file(place))
    asked = Asked(SERVICE.name, str(path), job.sha256(path), "latest", where, "")
    return place, Job("result", asked, rows, chunk_rows, "f" * 32, 1, 1_800_000_000_000_000, SERVICE.definition_hash)


def _run(context: Context, place: Path, what: Job, infer: Any = _infer) -> tuple[job.Summary, list[Progress]]:
    told: list[Progress] = []
    tables = (results.scores(context, SERVICE, what.name), results.rejects(context, what.name))
    tools = Tools(_historical, infer, explain, Pace(sleep=lambda _: None))
    return run("main", PLAN, SERVICE, place, what, tables, tools, told.append), told


def _rows(context: Context, name: str, columns: pa.Schema) -> list[dict[str, Any]]:
    found = duckdb.sql(f"FROM {scan(context.layout.lake / name, columns)} ORDER BY number").to_arrow_table()
    return list(found.to_pylist())


def test_every_row_is_scored_once_and_decided_without_capacity(context: Context, tmp_path: Path) -> None:
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 95))
    found, told = _run(context, place, what)
    assert (found.scored, found.rejected, found.versions) == (95, 0, {"7": 95})
    assert found.decisions == {"approve": 49, "decline": 5, "review": 41}, "more reviews than the two places of a day"
    assert [(each.done, each.rows) for each in told] == [(n, 95) for n in (*range(10, 91, 10), 95)]
    rows = _rows(context, "main/scores/result", results.scores_schema(SERVICE))
    assert [row["number"] for row in rows] == list(range(95))
    assert len({row["prediction_id"] for row in rows}) == 95
    assert rows[90] | {"prediction_id": "", "scored_at": 0} == {
        "number": 90, "prediction_id": "", "way": "batch", "event_key": "90", "position": "f" * 32, "as_of": NOON,
        "score": pytest.approx(0.91), "decision": "decline", "reason": rows[90]["reason"], "kind": "large",
        "model": "orders", "model_version": "7", "definition_hash": "1", "scored_at": 0, "row_id": 90, "row_at": NOON,
        "row_customer_id": 42, "row_amount": pytest.approx(91), "row_note": "gift", "request__amount": 91.0,
        "spending__count_7d": 90.0, "spending__amount_mean_1d": 90.0, "spending__returned_rate_2h": 90.0,
    }  # fmt: skip
    assert rows[90]["reason"].startswith("amount 91.00; score 0.9100")


def test_a_row_that_cannot_be_scored_is_a_reject_with_its_reason(context: Context, tmp_path: Path) -> None:
    amounts = ["1.00", "1.005", None, "4.00"]
    keys = [1, 2, 3, None]
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 4, amount=amounts, customer_id=keys))
    found, _ = _run(context, place, what)
    assert (found.scored, found.rejected) == (1, 3)
    assert found.reasons == {"row.invalid": 2, "row.request_feature": 1}
    rejected = _rows(context, "main/rejects/result", results.REJECTS)
    assert [(row["number"], row["event_key"]) for row in rejected] == [(1, "1"), (2, "2"), (3, "3")]
    assert "row.amount: expected a finite number with at most 2 digits" in rejected[0]["reason"]
    assert "customer_id" in rejected[2]["reason"] and '"amount":"4.00"' in rejected[2]["row"]


@pytest.mark.parametrize("dies_in_call", range(1, 8))
def test_what_was_killed_goes_on_and_repeats_no_row(context: Context, tmp_path: Path, dies_in_call: int) -> None:
    amounts = [f"{n + 1}.00" if n % 7 else "wrong" for n in range(35)]
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 35, amount=amounts), chunk_rows=5)
    calls = 0

    def dying(inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], str]:
        nonlocal calls
        calls += 1
        if calls == dies_in_call:
            raise TritonModelError("test.killed", "killed")
        return _infer(inputs)

    with pytest.raises(ApplianceError, match="killed"):
        _run(context, place, what, dying)
    found, _ = _run(context, place, what)
    assert (found.scored, found.rejected) == (30, 5)
    rows = _rows(context, "main/scores/result", results.scores_schema(SERVICE))
    rejected = _rows(context, "main/rejects/result", results.REJECTS)
    assert sorted(row["number"] for row in [*rows, *rejected]) == list(range(35))
    again, told = _run(context, place, what)
    assert (again, told) == (found, []), "said again, it does nothing"


def test_a_model_that_is_away_for_a_while_is_asked_again(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.batch.run._WAIT_SECONDS", 0.001)
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 3))
    answers = iter([False, False, True])

    def away(inputs: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], str]:
        if not next(answers):
            raise TritonUnavailableError("triton.unavailable", "starting")
        return _infer(inputs)

    assert _run(context, place, what, away)[0].scored == 3


def test_chosen_rows_keep_their_numbers(context: Context, tmp_path: Path) -> None:
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 30), where="id >= 10 AND note = 'gift'")
    assert what.rows == 20
    _run(context, place, what)
    rows = _rows(context, "main/scores/result", results.scores_schema(SERVICE))
    assert [row["number"] for row in rows] == list(range(10, 30))


def test_files_that_cannot_be_read_are_refused_with_what_to_do(context: Context, tmp_path: Path) -> None:
    path = _file(tmp_path / "orders.parquet", 2, at=[NOON.replace(tzinfo=None)] * 2)
    with pytest.raises(UsageError, match="without zone") as zone:
        _begin(context, path)
    assert "--time-zone" in zone.value.hint
    with pytest.raises(UsageError, match="chosen"):
        _begin(context, _file(tmp_path / "orders.parquet", 2), where="nothing > 1")
    pq.write_table(pa.table({"id": [1]}), path)
    with pytest.raises(UsageError, match="lacks"):
        _begin(context, path)
    path.write_text("no parquet")
    with pytest.raises(UsageError, match="Parquet"):
        _begin(context, path)


def test_a_name_stands_for_its_inputs_and_for_one_run_at_a_time(context: Context, tmp_path: Path) -> None:
    place, what = _begin(context, _file(tmp_path / "orders.parquet", 2))
    job.check_same(what, what.asked)
    with pytest.raises(UsageError, match="where was '' and is now 'id > 1'"):
        job.check_same(what, msgspec.structs.replace(what.asked, where="id > 1"))
    job.write(place, what)
    assert job.read(place) == what
    with job.held(place), pytest.raises(BatchError, match="another process"), job.held(place):
        pass
    with pytest.raises(UsageError):
        job.folder(context, "../elsewhere")


def test_the_pace_rests_as_long_as_a_call_took_and_far_longer_when_it_is_slow() -> None:
    now = 0.0
    rests: list[float] = []

    def call(seconds: float) -> None:
        nonlocal now
        now += seconds

    pace = Pace(clock=lambda: now, sleep=rests.append)
    for seconds in (0.01, 0.01, 0.04):
        pace.call(lambda seconds=seconds: call(seconds))
    assert rests[0] == pytest.approx(0.01)
    assert rests[1] == pytest.approx(0.01)
    assert rests[2] == pytest.approx(0.04 * 16, rel=0.1)
    assert rest_seconds(0.5, 0.01) == 1.0
    assert pace.rested == pytest.approx(sum(rests))
