from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from appliance.names import Names
from appliance.records import FeatureValue, Prediction
from stream_jobs.lake import schema, sink
from stream_jobs.lake.reading import scan
from stream_jobs.lake.records import Raw
from stream_jobs.plan import Policy, Service

SERVICE = Service(
    "card_fraud", "bank", "public.transactions", "t", "transaction_id", "tx_datetime", (), (), (), (), (), "card_fraud",
    Policy(0.5, 0.9, 100, "m:f"), "",
)  # fmt: skip


def _prediction(number: int, **changes: Any) -> Prediction:
    values: dict[str, Any] = {
        "prediction_id": f"0193{number:08x}-0000-7000-8000-000000000000", "tenant": "main", "service": "card_fraud",
        "way": "cdc", "event_key": str(number), "source_position": "0" * 32, "request_id": "", "app": "", "as_of": 5,
        "row": {"tx_amount": "1.50"}, "features": {"customer_payments:n": FeatureValue(3, "present", 12)},
        "cuts": {"customer_payments": "0" * 32}, "reached": {}, "behind": False, "score": 0.25, "decision": "approve",
        "reason": "", "kind": "", "model": "card_fraud", "model_version": "1", "definition_hash": "h",
        "committed_at": 1_763_900_000_000_000, "scored_at": 1_763_900_000_050_000 + number, "spent_us": {"triton": 900},
    }  # fmt: skip
    return Prediction(**(values | changes))


def _raw(offset: int, prediction: Prediction) -> Raw:
    return Raw("main.predictions.card_fraud", 0, offset, msgspec.json.encode(prediction))


def _rows(lake: Path, what: str) -> list[Any]:
    table = scan(lake / Names("main").lake_ledger("card_fraud"), schema.LEDGER)
    return duckdb.sql(f"SELECT {what} FROM {table} ORDER BY prediction_id").fetchall()


def _sink(lake: Path) -> sink.Sink:
    return sink.of_service(SERVICE, Names("main"), lake)


def test_a_prediction_is_stored_whole(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    assert one.add([_raw(0, _prediction(1))]) == []
    one.flush()
    ((score, features, spent, date, scored),) = _rows(
        tmp_path, "score, features, spent_us->>'triton', scored_date::VARCHAR, epoch_us(scored_at)"
    )
    assert (score, spent, date, scored) == (0.25, "900", "2025-11-23", 1_763_900_000_050_001)
    assert json.loads(features) == {"customer_payments:n": {"value": 3, "status": "present", "age_ms": 12}}


def test_one_row_an_identity_within_a_batch_between_batches_and_after_a_restart(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    one.add([_raw(0, _prediction(1)), _raw(1, _prediction(2)), _raw(2, _prediction(1, score=0.9))])
    one.flush()
    one.add([_raw(3, _prediction(2, score=0.9)), _raw(4, _prediction(3))])
    one.flush()
    again = _sink(tmp_path)
    assert again.reached(0) == 4
    again.add([_raw(5, _prediction(1, score=0.9))])
    again.flush()
    assert _rows(tmp_path, "event_key, score") == [("1", 0.25), ("2", 0.25), ("3", 0.25)]
    assert again.reached(0) == 5, "a batch of repeats alone moves the offset"


def test_what_is_no_prediction_of_the_service_is_put_aside(tmp_path: Path) -> None:
    one = _sink(tmp_path)
    other = _raw(1, _prediction(1, service="churn"))
    broken = one.add([Raw("main.predictions.card_fraud", 0, 0, b"{}"), other, _raw(2, _prediction(2))])
    assert [each.raw.offset for each in broken] == [0, 1]
    one.flush()
    assert _rows(tmp_path, "event_key") == [("2",)]
