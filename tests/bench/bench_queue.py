"""Whether a training slows serving: single-row predictions with and without a job of the queue under way.

    APPLIANCE_HOME=… python -m tests.bench.bench_queue [--seconds 30] [--rate 20] [--rounds 2] [--out FOLDER]

On a running appliance: an app of the bench's own asks for one row at a fixed rate for some seconds, then the same while
``appliance model train --no-promote`` runs (its part with torch, not the reading of the lake), in turn. The versions
made are removed. Latencies count from when a request was due, so a late one is not forgiven. Load generator and all
parts share the machine's cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from appliance import context as contexts
from appliance.parts.base import Context
from models.jobs.queue import Job, Queue
from models.registry import Registry
from tests.bench import bench_serving, machine
from tests.integration import gateway_api as api

_MODEL = "card_fraud"


def ask(
    made: Sequence[dict[str, Any]], client: httpx.Client, seconds: float, rate: float, going: Any = None
) -> list[float]:
    """Latencies in ms of requests due at a fixed rate, one of the rows each; ends early when ``going`` says no."""
    found = []
    start = time.perf_counter()
    for number in range(int(seconds * rate)):
        due = start + number / rate
        time.sleep(max(0.0, due - time.perf_counter()))
        client.post(api.PREDICT, json={"rows": [made[number % len(made)]]}).raise_for_status()
        found.append((time.perf_counter() - due) * 1000)
        if going is not None and not going():
            break
    return found


def train(context: Context, seed: int) -> tuple[Job, Queue]:
    """A training that is under way: its training process has begun."""
    command = [context.layout.bin / "appliance", "model", "train", _MODEL, "--seed", str(seed), "--no-promote"]
    done = subprocess.run([*command, "--no-wait", "--json"], capture_output=True, text=True, check=True)
    queue = Queue.of(context)
    job = queue.get(json.loads(done.stdout)["id"])
    log = queue.log(job.id)
    while not log.exists() or "training process has read" not in log.read_text():
        assert not queue.get(job.id).ended, queue.get(job.id).error
        time.sleep(0.2)
    return job, queue


def finish(context: Context, job: Job, queue: Queue) -> float:
    """Wait for the job, remove its version; seconds it took."""
    while not (ended := queue.get(job.id)).ended:
        time.sleep(0.5)
    assert ended.result is not None, ended.error
    shutil.rmtree(Registry.of(context).path(_MODEL, ended.result["version"]))
    assert ended.started_at and ended.ended_at
    return (ended.ended_at - ended.started_at) / 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--rate", type=float, default=20, help="requests a second")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, help="folder of queue.json and .md (a new one in /tmp)")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="queue-"))
    context = contexts.current()
    without: list[float] = []
    during: list[float] = []
    took = []
    made = bench_serving.rows(context)
    with api.app_client(context) as client:
        ask(made, client, 5, arguments.rate)
        for number in range(arguments.rounds):
            without += ask(made, client, arguments.seconds, arguments.rate)
            job, queue = train(context, 1_000 + number)

            def going(queue: Queue = queue, number: int = job.id) -> bool:
                return not queue.get(number).ended

            during += ask(made, client, arguments.seconds, arguments.rate, going)
            took.append(finish(context, job, queue))
    result = {"without": _figures(without), "during": _figures(during), "training_seconds": took}
    lines = [
        f"One row a request, {arguments.rate:g} requests a second, {os.cpu_count()} cores, {arguments.rounds} rounds; "
        f"trainings took {', '.join(f'{each:.0f} s' for each in took)}.",
        "",
        "| | requests | p50 ms | p99 ms |",
        "|---|---|---|---|",
    ]
    for name, each in (("no training", result["without"]), ("a training under way", result["during"])):
        lines.append(f"| {name} | {each['requests']} | {each['p50']:.1f} | {each['p99']:.1f} |")
    text = "\n".join(lines) + "\n"
    machine.write(out, "queue", result, text)
    sys.stdout.write(f"{text}\n{out}/queue.json, queue.md\n")
    return 0


def _figures(taken: list[float]) -> dict[str, Any]:
    return {"requests": len(taken), "p50": float(np.percentile(taken, 50)), "p99": float(np.percentile(taken, 99))}


if __name__ == "__main__":
    sys.exit(main())
