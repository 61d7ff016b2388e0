"""1,000 random past predictions, computed again after a model switch, a feature version switch and a restart.

    APPLIANCE_HOME=… python -m tests.bench.bench_replay --out DIR

Scores payments by HTTP, by Kafka and out of the business database; trains another version of the model and serves it;
scores; changes a view's definition and waits until the new version is read; scores; lets the former version go, so that
no store but the lake has it; stops and starts everything; replays. Definitions and champion are put back afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from appliance import context as contexts
from appliance.clients import kafka, postgres
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.lake import delta
from stream_jobs.versions import holder
from tests.bench import machine
from tests.bench.machine import command
from tests.e2e.business import INSERT, Payments
from tests.integration import gateway_api as api

_VIEW = "customer_payments"
_CHANGES = {
    '*(Field(name=f"customer_tx_amount_mean_{days}d", dtype=Float64) for days in _DAYS),':
        ' Field(name="customer_tx_count_2d", dtype=Int64),',
    '*declare.windows("tx_amount", "mean", "customer_tx_amount_mean_{days}d", _DAYS),':
        ' *declare.windows("*", "count", "customer_tx_count_{days}d", (2,)),',
}  # fmt: skip
_ROWS_A_CALL = 20


def score(context: Context, payments: Payments, rows: int) -> set[str]:
    """Event keys of payments that were scored: half by HTTP, a quarter by Kafka, a quarter as they were committed."""
    made = [payments.make() for _ in range(rows)]
    by_http, by_kafka, committed = made[: rows // 2], made[rows // 2 : rows * 3 // 4], made[rows * 3 // 4 :]
    requests = [_row(one) for one in by_http]
    with api.app_client(context) as client:
        for start in range(0, len(requests), _ROWS_A_CALL):
            answer = client.post(api.PREDICT, json={"rows": requests[start : start + _ROWS_A_CALL]})
            assert answer.status_code == 200, answer.text
    sent = [json.dumps({"request_id": f"replay-{one[0]}", "row": _row(one)}).encode() for one in by_kafka]
    api.send(context, context.names.requests(api.SERVICE), *sent)
    with postgres.sample(context) as bank:
        for one in committed:
            bank.execute(INSERT, one)
    return {str(one[0]) for one in made}


def _row(payment: tuple[int, datetime, int, int, float]) -> dict[str, Any]:
    key, at, customer, terminal, amount = payment
    return {"transaction_id": key, "tx_datetime": round(at.timestamp() * 1e6), "customer_id": customer,
            "terminal_id": terminal, "tx_amount": f"{amount:.2f}"}  # fmt: skip


def wait_logged(context: Context, keys: set[str], seconds: float = 120) -> None:
    """Until the ledger has a prediction of each."""
    ledger = context.layout.lake / context.names.lake_ledger(api.SERVICE)

    def there() -> bool:
        found = delta.open_table(ledger).to_pyarrow_table(columns=["event_key"])["event_key"].to_pylist()
        return keys <= set(found)

    api.eventually(there, seconds)


@contextmanager
def another_definition(context: Context) -> Iterator[None]:
    """A view of the service gets a further feature, and its new version is read; put back afterwards."""
    file = context.layout.code / "feature_repo" / "card_fraud" / "features.py"
    before = text = file.read_text()
    for line, more in _CHANGES.items():
        assert text.count(line) == 1, f"{file} has no line {line}"
        text = text.replace(line, line + more)
    version = plans.read(context.layout.plan_file).view(_VIEW).version
    file.write_text(text)
    try:
        command(context, "features", "apply")
        api.eventually(lambda: plans.read(context.layout.plan_file).view(_VIEW).version != version, 240)
        yield
    finally:
        file.write_text(before)
        command(context, "features", "apply")


def let_go(context: Context) -> None:
    """Former versions leave Kafka, Redis and HBase now."""
    with holder.alone(context):
        plan = plans.read(context.layout.plan_file)
        plans.write(replace(plan, kept_until=dict.fromkeys(plan.kept_until, 1)), context.layout.plan_file)

    def gone() -> bool:
        plan = plans.read(context.layout.plan_file)
        return not plan.former and not plan.dropped

    kafka.until(gone, "the former version to be removed", 180)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=500, help="payments scored in each of the three phases (500)")
    parser.add_argument("--sample", type=int, default=1_000, help="predictions replayed (1000)")
    parser.add_argument("--out", type=Path, required=True, help="folder of replay.json and replay.md")
    arguments = parser.parse_args()
    context = contexts.current()
    payments, began = Payments(context, seed=11), datetime.now(UTC).isoformat()
    wait_logged(context, score(context, payments, arguments.rows))
    trained = command(context, "model", "train", api.SERVICE, "--seed", "8", "--no-promote")
    command(context, "model", "promote", trained["model"], str(trained["version"]), "--force")
    try:
        wait_logged(context, score(context, payments, arguments.rows))
        with another_definition(context):
            time.sleep(5)  # readers take up a new plan within 2 s
            wait_logged(context, score(context, payments, arguments.rows))
            let_go(context)
            restarted = time.monotonic()
            command(context, "down")
            command(context, "up")
            restart_seconds = time.monotonic() - restarted
            found = command(
                context, "replay", "--service", api.SERVICE, "--sample", str(arguments.sample), "--since", began,
                expected=(0, 1),
            )  # fmt: skip
    finally:
        command(context, "model", "rollback", trained["model"])
    results = found.pop("results")
    wrong = [one for one in results if one["outcome"] != "equal"]
    text = "\n".join(
        [
            f"{found['equal']:,} of {found['predictions']:,} predictions equal, {found['differ']:,} differ, "
            f"{found['not_recomputed']:,} not recomputed, in {found['seconds']:.1f} s; {found['bits_equal']:,} scores "
            f"equal to the bit, the others within {found['score_tolerance']:g}; {found['places_from_ledger']:,} "
            "decisions with the ledger's word on a place for a review.",
            "",
            f"Model versions {found['models']}, definitions {len(found['definitions'])}, one restart of everything "
            f"({restart_seconds:.0f} s); the former version of {_VIEW} was in no store but the lake.",
            "",
        ]
    )
    machine.write(arguments.out, "replay", {**found, "began": began, "wrong": wrong[:50]}, text)
    sys.stdout.write(text)
    sys.stdout.write("".join(msgspec.json.encode(one).decode() + "\n" for one in wrong[:5]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
