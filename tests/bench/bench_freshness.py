"""Commit → servable of every row, while rows are committed one by one at a steady rate, all parts running.

    APPLIANCE_HOME=… python -m tests.bench.bench_freshness --rate 500 --seconds 120

Half the commits are payments (which are scored as well), half are labels. The commit time is the database's own
(``source.ts_us`` of the captured change); a row is servable when every view of the service has reached its position.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from confluent_kafka import TopicPartition

from appliance import context as contexts
from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from gateway.report.latency import Quantiles, ReachedWatch
from stream_jobs import plan as plans
from stream_jobs.marker.progress import decode
from tests.bench import machine

_SETTLE_SECONDS = 5.0
_CONNECTIONS = 8
"""One alone waits for the disk at every commit."""


def places(context: Context, topics: list[str]) -> list[TopicPartition]:
    """The ends of the topics' partitions."""
    watcher = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.appliance.bench")
    found = [
        TopicPartition(topic, n, watcher.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1])
        for topic in topics
        for n in watcher.list_topics(topic, timeout=10).topics[topic].partitions
    ]
    watcher.close()
    return found


def committed(context: Context, begins: list[TopicPartition], ends: list[TopicPartition]) -> list[tuple[str, int]]:
    """(position, commit time µs) of every change between two places of the captured topics."""
    reader = kafka.consumer(context, users.ADMINISTRATOR, f"{context.names.tenant}.appliance.bench")
    reader.assign(begins)
    left = {(p.topic, p.partition): p.offset for p in ends}
    found = []
    while left:
        for message in reader.consume(5_000, 1.0):
            if message.error() is None and (seen := decode(message.value())) is not None:
                found += [(seen.point.position, seen.point.known_at)] if seen.kind != "marker" else []
        for place in reader.position([TopicPartition(*channel) for channel in left]):
            if place.offset >= left[place.topic, place.partition]:
                del left[place.topic, place.partition]
    reader.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=500, help="commits a second (500)")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--out", type=Path, help="folder of freshness.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="freshness-"))
    context = contexts.current()
    plan = plans.read(context.layout.plan_file)
    views = [view for view in plan.views if view.source == "bank"]
    topics = sorted({view.source_topic for view in views})
    watch = ReachedWatch(context, views)
    begins, before = places(context, topics), machine.cpu_seconds(context)
    watch.start()
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.load", "--rate", str(arguments.rate), "--seconds",
         str(arguments.seconds), "--commit-rows", "1", "--connections", str(_CONNECTIONS)],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    after = machine.cpu_seconds(context)
    time.sleep(_SETTLE_SECONDS)
    ends = places(context, topics)
    watch.stop()
    load = json.loads(done.stdout.splitlines()[-1])
    rows = committed(context, begins, ends)
    assert len(rows) >= load["rows"], f"{load['rows']} rows were committed, {len(rows)} captured"
    servable = [(at, watch.servable_at(position)) for position, at in rows]
    quantiles = Quantiles.of([seen - at for at, seen in servable if seen is not None])
    unseen = sum(seen is None for _, seen in servable)
    assert quantiles is not None, "no row became servable"
    rate = load["commits"] / load["seconds"]
    text = "\n".join(
        [
            f"Commit → servable at {rate:,.0f} commits/s, {quantiles.rows:,} rows: p50 {quantiles.p50_ms:.0f} ms, p99 "
            f"{quantiles.p99_ms:.0f} ms, longest {quantiles.max_ms:.0f} ms; {unseen} not servable "
            f"{_SETTLE_SECONDS:.0f} s after the last commit.",
            "",
            *machine.cpu_table(before, after, load["rows"], load["seconds"]),
            "",
        ]
    )
    machine.write(out, "freshness", {"load": load, "quantiles": quantiles, "unseen": unseen}, text)
    sys.stdout.write(f"{text}\n{out}/freshness.json, freshness.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
