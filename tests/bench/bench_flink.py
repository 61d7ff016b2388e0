"""The Flink job alone on a prefilled topic: changes a second, and for each CPU second, at parallelism 1 and 2.

    APPLIANCE_HOME=… python -m tests.bench.bench_flink --changes 2000000

Stops every part but Kafka, Redis and Flink, fills a topic of two partitions with change records of payments, runs the
compiled SQL of ``customer_payments`` from it into a topic of its own, once to warm up and then in turn with each
parallelism, and starts the other parts again. A rate is taken between a tenth and nine tenths of the edits.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, TopicPartition

from appliance import context as contexts
from appliance import users
from appliance.clients import flink, kafka
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.jobs import submission, wanted
from stream_jobs.plan import View
from tests.bench import machine

_KEPT = ("kafka", "redis", "flink-jobmanager", "flink-taskmanager")
_PARTITIONS = 2
_UPDATES = 0.1
_LONGEST_SECONDS = 540.0


def record(chance: random.Random, number: int) -> tuple[bytes, int]:
    """A change as Debezium writes it, and how many edits it makes."""
    at = f"2026-05-{1 + number % 28:02d}T12:{number % 60:02d}:{number // 60 % 60:02d}.{number % 1_000_000:06d}Z"
    after = {
        "transaction_id": number, "tx_datetime": at, "customer_id": chance.randrange(5_000),
        "terminal_id": chance.randrange(10_000), "tx_amount": f"{chance.randrange(100, 30_000) / 100:.2f}",
    }  # fmt: skip
    update = chance.random() < _UPDATES
    lsn = 10**9 + number * 200
    envelope = {
        "before": {**after, "tx_amount": "1.00"} if update else None,
        "after": after,
        "source": {
            "version": "3.6.1.Final", "connector": "postgresql", "name": "main.cdc.bank", "ts_ms": number,
            "snapshot": "false", "db": "bank", "sequence": f'["{lsn - 80}","{lsn}"]', "ts_us": number * 1_000,
            "ts_ns": number * 1_000_000, "schema": "public", "table": "transactions", "txId": number, "lsn": lsn,
            "xmin": None,
        },
        "transaction": None, "op": "u" if update else "c", "ts_ms": number, "ts_us": number * 1_000,
        "ts_ns": number * 1_000_000,
    }  # fmt: skip
    return msgspec.json.encode(envelope), 1 + update


def fill(context: Context, topic: str, changes: int) -> int:
    """Produce the changes; returns how many edits they make."""
    producer = kafka.producer(
        context, users.ADMINISTRATOR, **{"linger.ms": 50, "queue.buffering.max.messages": 500_000}
    )
    chance, edits = random.Random(1), 0
    for number in range(changes):
        value, makes = record(chance, number)
        edits += makes
        while True:
            try:
                producer.produce(topic, value=value, partition=number % _PARTITIONS)
                break
            except BufferError:
                producer.poll(0.2)
        if number % 10_000 == 0:
            producer.poll(0)
    left = producer.flush(120)
    assert left == 0, f"{left} records were not produced"
    return edits


def ends(watcher: Consumer, topic: str) -> int:
    """Records in a topic, those of aborted transactions and markers aside."""
    return sum(watcher.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in range(_PARTITIONS))


def run(context: Context, view: View, source: str, edits: int, parallelism: int) -> dict[str, Any]:
    """One job from the topic's start to its end."""
    name = f"bench{uuid.uuid4().hex[:8]}"
    out = context.names.edits(name, 1)
    kafka.ensure_topics(context, {out: {"partitions": str(_PARTITIONS)}})
    script = view.sql.replace(view.source_topic, source).replace(view.edits_topic, out)
    own = msgspec.structs.replace(view, sql=script, source_topic=source, edits_topic=out)
    job = wanted.Job(f"test.{name}", own, context.layout.data / "flink" / "checkpoints" / name)
    watcher = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.appliance.{name}")
    settings = msgspec.structs.replace(
        context.settings, flink=msgspec.structs.replace(context.settings.flink, parallelism=parallelism)
    )
    identity = submission.submit(
        Context(context.layout, context.installation, settings, context.secrets), [(job, None)]
    )[job.name]
    try:
        marks: dict[float, tuple[float, dict[str, float]]] = {}
        limit = time.monotonic() + _LONGEST_SECONDS
        while (done := ends(watcher, out)) < edits:
            for share in (0.1, 0.9):
                if share not in marks and done >= share * edits:
                    marks[share] = (time.monotonic(), {**machine.cpu_seconds(context), "": done / edits})
            assert time.monotonic() < limit, f"{done} of {edits} edits after {_LONGEST_SECONDS} s"
            time.sleep(0.1)
        time.sleep(2)
        assert ends(watcher, out) == edits, "the job wrote more edits than the changes make"
        (began, before), (ended, after) = marks[0.1], marks[0.9]
        return {"parallelism": parallelism, "seconds": ended - began, "share": after.pop("") - before.pop(""),
                "before": before, "after": after}  # fmt: skip
    finally:
        flink.cancel(context, identity)
        kafka.until(lambda: flink.call(context, f"/jobs/{identity}")["state"] == "CANCELED", "the job to end")
        watcher.close()
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        kafka.admin(context).delete_topics([out])


def _appliance(context: Context, *words: str) -> dict[str, Any]:
    done = subprocess.run([context.layout.bin / "appliance", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout) if "--json" in words else {}
    return answer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changes", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=2, help="runs with each parallelism, after the first (2)")
    parser.add_argument("--out", type=Path, help="folder of flink.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="flink-"))
    context = contexts.current()
    view = plans.read(context.layout.plan_file).view("customer_payments")
    others = [p["name"] for p in _appliance(context, "status", "--json")["parts"] if p["name"] not in _KEPT]
    source = context.names.cdc(f"bench{uuid.uuid4().hex[:8]}", "public.transactions")
    try:
        _appliance(context, "down", "keeper", *(name for name in others if name != "keeper"))
        kafka.ensure_topics(context, {source: {"partitions": str(_PARTITIONS)}})
        edits = fill(context, source, arguments.changes)
        sys.stderr.write(f"{arguments.changes} changes stand in {source}\n")
        runs = []
        for number, parallelism in enumerate([1, *([1, 2] * arguments.rounds)]):
            made = run(context, view, source, edits, parallelism)
            changes = arguments.changes * made["share"]
            made["changes_per_second"] = round(changes / made["seconds"], 1)
            made["changes"], made["warm_up"] = round(changes), number == 0
            runs.append(made)
            sys.stderr.write(f"parallelism {parallelism}: {made['changes_per_second']:,.0f} changes/s\n")
    finally:
        kafka.admin(context).delete_topics([source])
        _appliance(context, "up")
    text = markdown(arguments.changes, runs)
    machine.write(out, "flink", {"changes": arguments.changes, "runs": runs}, text)
    sys.stdout.write(f"{text}\n{out}/flink.json, flink.md\n")
    return 0


def markdown(changes: int, runs: list[dict[str, Any]]) -> str:
    best = {
        parallelism: max((r for r in runs if r["parallelism"] == parallelism and not r["warm_up"]),
                         key=lambda r: float(r["changes_per_second"]))
        for parallelism in (1, 2)
    }  # fmt: skip
    ratio = best[2]["changes_per_second"] / best[1]["changes_per_second"]
    lines = [
        f"The Flink job of customer_payments alone on {changes:,} changes in a topic of two partitions: "
        f"parallelism 2 is **{ratio:.2f} times** parallelism 1.",
        "",
        "| parallelism | run | changes/s |",
        "|---|---|---|",
        *(
            f"| {r['parallelism']} | {'warm-up' if r['warm_up'] else n} | {r['changes_per_second']:,.0f} |"
            for n, r in enumerate(runs)
        ),
    ]
    for parallelism, run_ in best.items():
        lines += ["", f"CPU of the better run at parallelism {parallelism}:", ""]
        lines += machine.cpu_table(run_["before"], run_["after"], run_["changes"], run_["seconds"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
