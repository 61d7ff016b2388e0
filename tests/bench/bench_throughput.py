"""Changes a second that the whole appliance keeps up with, all parts running.

    APPLIANCE_HOME=… python -m tests.bench.bench_throughput --rate 5000 --seconds 600
    APPLIANCE_HOME=… python -m tests.bench.bench_throughput --tables transaction_labels --rate 10000 --seconds 600
    APPLIANCE_HOME=… python -m tests.bench.bench_throughput --ramp --rate 1000 --seconds 60

``transaction_labels`` alone is one view (terminal_labels); both tables, in turn, are the two views of card_fraud, and
every payment is scored as well. ``--ramp`` raises the rate until Redis falls behind, and reports the last that held.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition
from redis.exceptions import RedisError

from appliance import context as contexts
from appliance import users
from appliance.clients import kafka, postgres, redis
from appliance.clock import wall_us
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.online import reached
from stream_jobs.plan import View
from tests.bench import machine

_LOOK_SECONDS = 0.5
_LAG_SECONDS = 5.0
_CAUGHT_UP_SECONDS = 120.0
_HELD_SECONDS = 2.0
"""Of a step of a ramp: Redis' age at its end up to which it has held."""
_RAMP = 1.25
_GROUPS = {"writer-hbase": "edits", "writer-lake": "changes"}


class Lags(threading.Thread):
    """Samples how far the stores are behind: Redis in seconds of age, HBase and lake in records of Kafka."""

    def __init__(self, context: Context, views: list[View]) -> None:
        super().__init__(daemon=True)
        self._context, self._views = context, views
        self._store = redis.connect(context, users.ADMINISTRATOR, timeout_seconds=2)
        self._watcher = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.appliance.bench")
        tenant = context.names.tenant
        self._groups = {name: kafka.consumer(context, users.ADMINISTRATOR, f"{tenant}.{name}") for name in _GROUPS}
        self._topics = {
            "writer-hbase": sorted({view.edits_topic for view in views}),
            "writer-lake": sorted({view.source_topic for view in views}),
        }
        self._stopped = threading.Event()
        self.redis_age: list[tuple[float, float]] = []
        self.records: dict[str, list[tuple[float, int]]] = {name: [] for name in _GROUPS}

    def age_seconds(self) -> float | None:
        """Seconds since the commit up to which every view is servable."""
        try:
            known = reached.read(self._store, self._context.names, self._views).values()
        except RedisError:
            return None
        return max((wall_us() - one.known_at) / 1e6 if one else float("inf") for one in known)

    def run(self) -> None:
        began, lagged = time.monotonic(), 0.0
        while not self._stopped.wait(_LOOK_SECONDS):
            at = time.monotonic() - began
            if (age := self.age_seconds()) is not None:
                self.redis_age.append((at, age))
            if at - lagged >= _LAG_SECONDS:
                lagged = at
                for name in _GROUPS:
                    self.records[name].append((at, self._behind(name)))

    def _behind(self, name: str) -> int:
        behind = 0
        for topic in self._topics[name]:
            partitions = self._watcher.list_topics(topic, timeout=10).topics[topic].partitions
            told = self._groups[name].committed([TopicPartition(topic, number) for number in partitions], timeout=10)
            for place in told:
                high = self._watcher.get_watermark_offsets(TopicPartition(topic, place.partition), timeout=10)[1]
                behind += high - max(place.offset, 0)
        return behind

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        for consumer in (self._watcher, *self._groups.values()):
            consumer.close()


def growing(samples: list[tuple[float, int]]) -> float:
    """Records a second by which a lag grew: the slope of a straight line through the second half of the samples."""
    late = samples[len(samples) // 2 :]
    if len(late) < 3:
        return 0.0
    return float(np.polyfit([at for at, _ in late], [count for _, count in late], 1)[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=5_000, help="changes a second; of a ramp the first (5000)")
    parser.add_argument("--seconds", type=float, default=600, help="how long, or each step of a ramp (600)")
    parser.add_argument("--tables", default="transactions,transaction_labels")
    parser.add_argument("--commit-rows", type=int, default=100, help="rows in one transaction (100)")
    parser.add_argument("--entities", type=int, default=20_000)
    parser.add_argument("--ramp", action="store_true", help="find the highest rate that holds")
    parser.add_argument("--out", type=Path, help="folder of throughput.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="throughput-"))
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    tables = {f"public.{table}" for table in arguments.tables.split(",")}
    views = [view for view in plan.views if view.source == "bank" and view.table in tables]
    results, rate = [], arguments.rate
    while True:
        results.append(measure(context, views, rate, arguments))
        sys.stderr.write(one_line(results[-1]) + "\n")
        if not arguments.ramp or results[-1]["redis_age_at_end_seconds"] > _HELD_SECONDS:
            break
        rate *= _RAMP
    text = markdown(results, views)
    machine.write(out, "throughput", {"steps": results}, text)
    sys.stdout.write(f"{text}\n{out}/throughput.json, throughput.md\n")
    return 0


def measure(context: Context, views: list[View], rate: float, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run at one rate."""
    lags = Lags(context, views)
    with postgres.sample(context, role="postgres") as bank:
        bank.execute(b"CHECKPOINT")
    before, all_before = machine.cpu_seconds(context), machine.machine_cpu_seconds()
    began = time.monotonic()
    lags.start()
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.bench.load", "--rate", str(rate), "--seconds", str(arguments.seconds),
            "--tables", arguments.tables, "--commit-rows", str(arguments.commit_rows),
            "--entities", str(arguments.entities),
        ],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    ended_us, seconds = wall_us(), time.monotonic() - began
    after, all_after = machine.cpu_seconds(context), machine.machine_cpu_seconds()
    age = lags.age_seconds()
    caught_up = _until_servable(lags, ended_us)
    lags.stop()
    load = json.loads(done.stdout.splitlines()[-1])
    return {
        "rate": rate,
        "load": load,
        "changes_per_second": round(load["rows"] / load["seconds"], 1),
        "redis_age_at_end_seconds": round(age if age is not None else float("inf"), 2),
        "redis_caught_up_seconds": caught_up,
        "redis_age_seconds": [(round(at), round(value, 2)) for at, value in lags.redis_age[::10]],
        "records_behind": {name: [(round(at), count) for at, count in lags.records[name]] for name in _GROUPS},
        "records_behind_growth_per_second": {name: round(growing(lags.records[name]), 1) for name in _GROUPS},
        "cpu": machine.cpu_table(before, after, load["rows"], seconds),
        "machine_cores": round((all_after - all_before) / seconds, 2),
    }


def _until_servable(lags: Lags, ended_us: int) -> float | None:
    """Seconds from the last commit until everything committed before it was servable; None: not in time."""
    began = time.monotonic()
    while time.monotonic() - began < _CAUGHT_UP_SECONDS:
        age = lags.age_seconds()
        if age is not None and wall_us() - age * 1e6 >= ended_us:
            return round(time.monotonic() - began, 2)
        time.sleep(0.01)
    return None


def one_line(result: dict[str, Any]) -> str:
    growth = ", ".join(f"{name} {value:+.0f}/s" for name, value in result["records_behind_growth_per_second"].items())
    return (
        f"{result['changes_per_second']:,.0f} changes/s (asked {result['rate']:,.0f}):"
        f" Redis {result['redis_age_at_end_seconds']} s behind at the end; lag in records: {growth};"
        f" machine {result['machine_cores']} cores"
    )


def markdown(results: list[dict[str, Any]], views: list[View]) -> str:
    lines = [f"Throughput, all parts running, into {', '.join(view.name for view in views)}", ""]
    lines += [
        "| asked, changes/s | committed, changes/s | for, s | Redis behind at the end, s "
        "| last commit servable after, s | HBase lag, records: last (growth/s) | lake lag | machine, cores "
        "| load generator, cores |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        lag = [
            f"{result['records_behind'][name][-1][1] if result['records_behind'][name] else '-'}"
            f" ({result['records_behind_growth_per_second'][name]:+,.0f})"
            for name in _GROUPS
        ]
        load = result["load"]
        lines.append(
            f"| {result['rate']:,.0f} | {result['changes_per_second']:,.0f} | {load['seconds']:.0f} "
            f"| {result['redis_age_at_end_seconds']} | {result['redis_caught_up_seconds']} | {lag[0]} | {lag[1]} "
            f"| {result['machine_cores']} | {load['cpu_seconds'] / load['seconds']:.2f} |"
        )
    best = results[-2] if len(results) > 1 else results[-1]
    lines += ["", f"CPU at {best['rate']:,.0f} changes/s:", "", *best["cpu"], ""]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
