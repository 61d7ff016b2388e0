"""HTTP predict beside Feast's own feature server, at rest, at 16 and at three times its capacity; Kafka; captured rows.

    APPLIANCE_HOME=… python -m tests.bench.bench_serving --out DIR

Ours: features of one payment of a customer and a terminal with a past, Triton, decision, ledger. Feast: ``feast serve``
(0.67, ``--feast`` names another), its own Redis store, 12 precomputed values of one pair, nothing else. Raw: one MGET
of the same keys by redis-py, and one call of Triton, one after the other. They take turns. Load generators are
processes of their own on the same machine; their CPU is said. Everything else of the appliance runs. About 5 minutes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import numpy as np

from appliance import context as contexts
from appliance import users
from appliance.clients import kafka, postgres
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.clock import Clock
from appliance.parts.base import Context
from appliance.ports import Port
from appliance.records import Prediction
from gateway import apps
from stream_jobs import plan as plans
from stream_jobs.online.reader import OnlineReader, RowInHand
from tests.bench import machine, serving_feast
from tests.bench.serving_load import Order, Outcome

_SERVICE = "card_fraud"
_PATH = f"/v1/services/{_SERVICE}/predict"
_PAIRS = 500
_FIRST_ID = 6_000_000_000


def rows(context: Context) -> list[dict[str, Any]]:
    """Payments nobody has seen, an hour ago by the appliance clock, of customers and terminals that have a past."""
    with postgres.sample(context) as bank:
        pairs = bank.execute(
            "select customer_id, terminal_id from transactions where tx_datetime > (select max(tx_datetime) from"
            f" transactions) - interval '7 days' order by md5(transaction_id::text) limit {_PAIRS}"
        ).fetchall()
    with redis_clients.connect(context, users.ADMINISTRATOR) as store:
        now = Clock(store, context.names.redis_clock()).now_us()
    at = (now // 1_000_000 - 3_600) * 1_000_000
    return [
        {"transaction_id": _FIRST_ID + number, "tx_datetime": at, "customer_id": customer, "terminal_id": terminal,
         "tx_amount": "12.50"}
        for number, (customer, terminal) in enumerate(pairs)
    ]  # fmt: skip


def send(order: Order) -> Outcome:
    """One load generator's run."""
    with tempfile.NamedTemporaryFile(mode="wb") as file:
        file.write(msgspec.json.encode(order))
        file.flush()
        command = [sys.executable, "-m", "tests.bench.serving_load", file.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout, type=Outcome)


class Ours:
    """The gateway, called as an app."""

    def __init__(self, context: Context, headers: dict[str, str], made: Sequence[dict[str, Any]]) -> None:
        self._port, self._headers = context.port(Port.GATEWAY), headers
        self._bodies = [json.dumps({"rows": [row]}) for row in made]

    def load(self, concurrency: int, seconds: float, rate: float = 0.0) -> Outcome:
        return send(Order(self._port, _PATH, self._headers, self._bodies, concurrency, seconds, rate))


@contextmanager
def app(context: Context) -> Iterator[dict[str, str]]:
    """Headers of an app that is revoked afterwards."""
    made, token = apps.create(context, "bench", [_SERVICE], 1)
    try:
        yield {"x-app-id": made.id, "authorization": f"Bearer {token}", "content-type": "application/json"}
    finally:
        apps.revoke(context, made.id)


def raw_ms(context: Context, made: Sequence[dict[str, Any]], seconds: float) -> tuple[float, float]:
    """p50 of one MGET of a payment's keys by redis-py, and of one call of Triton with one row."""
    plan = plans.read(context.layout.plan_file)
    service = plan.service(_SERVICE)
    reads, calls = [], []
    with redis_clients.connect(context, "gateway") as store, TritonClient.of(context) as model:
        reader = OnlineReader(store, context.names, plan)
        hands = [RowInHand(row["tx_datetime"], row) for row in made]
        keys = [reader.lookup(service, [hand]).keys for hand in hands]
        matrix = np.zeros((1, len(service.features)), np.float32)
        end, turn = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            turn += 1
            begin = time.perf_counter()
            store.mget(keys[turn % len(keys)])
            read = time.perf_counter()
            model.infer(service.model, matrix)
            calls.append((time.perf_counter() - read) * 1e3)
            reads.append((read - begin) * 1e3)
    return median(reads[20:]), median(calls[20:])


def kafka_async(context: Context, made: Sequence[dict[str, Any]], number: int) -> dict[str, Any]:
    """Rows scored a second: all requests are written, and counted from the first prediction to the last one."""
    topic, run = context.names.requests(_SERVICE), uuid.uuid4().hex
    reader = kafka.from_end(
        context, users.ADMINISTRATOR, f"main.appliance.bench-{run}", context.names.predictions(_SERVICE)
    )
    producer = kafka.producer(context, users.ADMINISTRATOR, **{"linger.ms": 20})
    began, cpu = time.monotonic(), machine.cpu_seconds(context)
    for place in range(number):
        body = {"request_id": f"{run}-{place}", "row": made[place % len(made)]}
        while True:
            try:
                producer.produce(topic, msgspec.json.encode(body))
            except BufferError:
                producer.poll(0.1)
            else:
                break
        producer.poll(0)
    producer.flush(60)
    seen, last = 0, began
    deadline = time.monotonic() + 120
    while seen < number and time.monotonic() < deadline:
        for message in reader.consume(2_000, 0.2):
            if message.error() is None and run.encode() in (message.value() or b""):
                last = time.monotonic()
                seen += 1
    reader.close()
    after = machine.cpu_seconds(context)
    spent = {part: after[part] - cpu[part] for part in ("scorer", "kafka", "redis", "triton") if part in cpu}
    assert seen == number, f"{seen} of {number} requests were scored"
    return {"rows": number, "per_second": number / (last - began), "cpu_seconds": spent}


def captured(context: Context, rate: int, seconds: float) -> dict[str, Any]:
    """Commit → prediction visible to a reader of committed records, ms, at a rate of one-row commits."""
    topic = context.names.predictions(_SERVICE)
    reader = kafka.from_end(context, users.ADMINISTRATOR, f"main.appliance.bench-{uuid.uuid4().hex}", topic)
    load = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.load", "--rate", str(rate), "--seconds", str(seconds), "--tables",
         "transactions", "--commit-rows", "1", "--connections", "4"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    taken: list[float] = []
    behind = 0
    quiet_at = time.monotonic() + seconds + 15
    while time.monotonic() < quiet_at:
        for message in reader.consume(500, 0.05):
            if message.error() is not None:
                continue
            prediction = msgspec.json.decode(message.value() or b"", type=Prediction)
            if prediction.way == "cdc":
                taken.append(time.time() * 1e3 - prediction.committed_at / 1e3)
                behind += prediction.behind
    reader.close()
    told = json.loads((load.communicate()[0]).splitlines()[-1])
    assert len(taken) >= told["rows"], f"{told['rows']} rows were committed, {len(taken)} scored"
    p50, p99 = np.percentile(taken, [50, 99]).tolist()
    return {"rows": len(taken), "commits_per_second": told["commits"] / told["seconds"], "p50_ms": p50, "p99_ms": p99,
            "behind": behind, "load_cpu": told["cpu_seconds"] / told["seconds"]}  # fmt: skip


def _line(name: str, one: Outcome) -> str:
    codes = ", ".join(f"{count} x {code}" for code, count in sorted(one.codes.items()))
    return f"| {name} | {one.p50_ms:.2f} | {one.p99_ms:.2f} | {one.per_second:,.0f} | {codes} | {one.client_cpu:.2f} |"


def _middle(runs: Sequence[Outcome]) -> Outcome:
    """The run with the median p50."""
    return sorted(runs, key=lambda one: one.p50_ms)[len(runs) // 2]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each run (6)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of ours, Feast and raw (3)")
    parser.add_argument("--feast", type=Path, default=Path(sys.executable).with_name("feast"))
    parser.add_argument("--feast-workers", type=int, default=1, help="of Feast's server (its default, 1)")
    parser.add_argument("--kafka-rows", type=int, default=60_000)
    parser.add_argument("--commits", type=int, default=300, help="a second (300)")
    arguments = parser.parse_args()
    context, seconds = contexts.current(), arguments.seconds
    made = rows(context)
    with app(context) as headers:
        ours = Ours(context, headers, made)
        ours.load(4, 3.0)
        lone, together, feast_lone, feast_together, raw = [], [], [], [], []
        with serving_feast.running(arguments.feast, arguments.feast_workers) as server:

            def feast(concurrency: int) -> Outcome:
                kind = {"content-type": "application/json"}
                order = Order(server.port, "/get-online-features", kind, server.bodies, concurrency, seconds)
                return send(order)

            for _ in range(arguments.rounds):
                lone.append(ours.load(1, seconds))
                feast_lone.append(feast(1))
                raw.append(raw_ms(context, made, 3.0))
                together.append(ours.load(16, seconds))
                feast_together.append(feast(16))
        capacity = max(one.per_second for one in together)
        overload = ours.load(256, 2 * seconds, 3 * capacity)
    by_kafka = kafka_async(context, made, arguments.kafka_rows)
    by_cdc = captured(context, arguments.commits, 30.0)
    one, many, theirs, their_many = map(_middle, (lone, together, feast_lone, feast_together))
    read, call = median(a for a, _ in raw), median(b for _, b in raw)
    bars = {
        "p99 ÷ p50, one at a time (≤ 5)": one.p99_ms / one.p50_ms,
        "p50 ÷ Feast's p50 (< 1)": one.p50_ms / theirs.p50_ms,
        "requests/s at 16 ÷ Feast's (≥ 5)": many.per_second / their_many.per_second,
        "p50 less raw Redis less raw Triton, ms (≤ 1)": one.p50_ms - read - call,
        "overload: p99 ÷ p99 at rest (≤ 2)": overload.p99_ms / one.p99_ms,
        "overload: accepted ÷ capacity (≥ 0.9)": overload.per_second / capacity,
        "Kafka: rows/s (≥ 5,000)": by_kafka["per_second"],
        "captured: p99 ms (≤ 1,000)": by_cdc["p99_ms"],
    }
    text = "\n".join(
        [
            "| | p50 ms | p99 ms | answered/s | answers | generator's cores |",
            "|---|---|---|---|---|---|",
            _line("predict, 1 at a time", one),
            _line("Feast's server, features alone, 1 at a time", theirs),
            _line("predict, 16 at a time", many),
            _line("Feast's server, 16 at a time", their_many),
            _line("predict, three times the capacity offered", overload),
            "",
            f"Raw: MGET {read:.2f} ms, Triton {call:.2f} ms (p50). The middle one of {arguments.rounds} rounds.",
            f"Kafka: {by_kafka['rows']:,} requests, {by_kafka['per_second']:,.0f} rows/s from the first one written.",
            f"Captured: {by_cdc['rows']:,} rows at {by_cdc['commits_per_second']:.0f} commits/s: commit → prediction",
            f"p50 {by_cdc['p50_ms']:.0f} ms, p99 {by_cdc['p99_ms']:.0f} ms; {by_cdc['behind']} were behind.",
            "",
            "| bar | |",
            "|---|---|",
            *(f"| {name} | {value:,.2f} |" for name, value in bars.items()),
            "",
        ]
    )  # fmt: skip
    result = {
        "bars": bars, "predict_1": lone, "predict_16": together, "feast_1": feast_lone, "feast_16": feast_together,
        "raw": raw, "overload": overload, "kafka": by_kafka, "captured": by_cdc,
    }  # fmt: skip
    machine.write(arguments.out, "serving", result, text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
