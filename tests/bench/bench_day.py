"""Days of replayed payments with late labels in which nobody does anything but one wrong promotion.

    APPLIANCE_HOME=… python -m tests.bench.bench_day --begins 2018-07-15 --until 2018-07-29 --out DIR

The appliance was installed with a file of payments in which a kind of fraud begins on the day ``--begins``, and with
``--history-until`` that day; ``learning.interval_minutes = 1`` in its ``appliance.toml``. The week without labels of
that kind is replayed fast, the rest at ``--speed``. Somebody asks over HTTP twice a second all the time. When the loop
has promoted two versions by itself, the first version is promoted by hand, with ``--force``: the loop has to go back
by itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from appliance import context as contexts
from appliance.clients import postgres
from appliance.parts.base import Context
from models.switching import LEARNER
from tests.bench import bench_serving, machine
from tests.bench.machine import command
from tests.integration import gateway_api as api

_MODEL = "card_fraud"
_LABEL_DAYS = 7
_ASK_SECONDS, _LOOK_SECONDS = 0.5, 10.0
_FAST = ("--rate", "1200", "--batch", "20")


class Asker:
    """Somebody who asks over HTTP all the time. codes: status, or the error's name, and how often."""

    def __init__(self, context: Context) -> None:
        self._context, self._stop = context, threading.Event()
        self.codes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        made = bench_serving.rows(self._context)
        with api.app_client(self._context) as client:
            number = 0
            while not self._stop.wait(_ASK_SECONDS):
                number += 1
                try:
                    answer = client.post(api.PREDICT, json={"rows": [made[number % len(made)]]})
                    self.codes[str(answer.status_code)] += 1
                except httpx.HTTPError as error:
                    self.codes[type(error).__name__] += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def scored(context: Context) -> int:
    """Captured rows that have a prediction."""
    (service,) = command(context, "report")["services"]
    by_way: dict[str, int] = service["scored"]
    return by_way.get("cdc", 0)


def committed(context: Context) -> int:
    with postgres.sample(context) as bank:
        row = bank.execute("select count(*) from transactions").fetchone()
    assert row is not None
    return int(row[0])


def until_scored(context: Context, before: tuple[int, int]) -> tuple[int, int]:
    """Rows committed and rows scored since ``before``, once they are as many."""
    deadline = time.monotonic() + 300
    while True:
        rows, done = committed(context) - before[0], scored(context) - before[1]
        if done >= rows or time.monotonic() > deadline:
            return rows, done
        time.sleep(2)


def acts(context: Context) -> list[dict[str, Any]]:
    """The oldest first."""
    found: list[dict[str, Any]] = command(context, "model", "acts", _MODEL)
    return found[::-1]


def _line(act: dict[str, Any]) -> str:
    what = act["details"]
    return f"{act['at'][:19]} {act['who']} {act['act']} {what.get('version', '')}: {what.get('why', '')}"


def _promoted_by_itself(found: list[dict[str, Any]]) -> int:
    return sum(act["act"] == "model.promote" and act["who"] == LEARNER for act in found)


def watch(context: Context, replaying: subprocess.Popen[bytes], first: int) -> bool:
    """Until the replay ends and the loop has gone back; whether the wrong promotion was made."""
    told, forced, forced_after = 0, False, 0
    while True:
        found = acts(context)
        for act in found[told:]:
            sys.stdout.write(_line(act) + "\n")
        sys.stdout.flush()
        told = len(found)
        if not forced and _promoted_by_itself(found) >= 2:
            command(context, "model", "promote", _MODEL, str(first), "--force")
            forced, forced_after = True, len(found)
        back = forced and any(act["who"] == LEARNER for act in found[forced_after:] if act["act"] == "model.rollback")
        if back or replaying.poll() is not None:
            return forced
        time.sleep(_LOOK_SECONDS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--begins", type=datetime.fromisoformat, required=True)
    parser.add_argument("--until", type=datetime.fromisoformat, required=True)
    parser.add_argument("--speed", type=float, default=300.0, help="of event time, once labels come (300)")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    context = contexts.current()
    first = int(command(context, "model", "standing", _MODEL)["champion"])
    before = committed(context), scored(context)
    known = arguments.begins + timedelta(days=_LABEL_DAYS)
    started = time.monotonic()
    command(context, "sample", "replay", *_FAST, "--until", known.isoformat() + "Z")
    asker = Asker(context)
    replaying = subprocess.Popen(
        [str(context.layout.bin / "appliance"), "sample", "replay", "--speed", str(arguments.speed), "--until",
         arguments.until.isoformat() + "Z"],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        forced = watch(context, replaying, first)
    finally:
        asker.stop()
        if replaying.poll() is None:
            command(context, "sample", "stop")
        replaying.wait(60)
    rows, done = until_scored(context, before)
    found = acts(context)
    result = {
        "committed": rows, "scored": done, "http": dict(asker.codes), "seconds": time.monotonic() - started,
        "promoted_by_itself": _promoted_by_itself(found), "forced": forced, "acts": found,
        "standing": command(context, "model", "standing", _MODEL),
    }  # fmt: skip
    text = "\n".join(
        [
            *(f"- {_line(act)}" for act in found),
            "",
            f"{rows:,} rows committed, {done:,} scored; HTTP {dict(asker.codes)}",
            "",
        ]
    )
    machine.write(arguments.out, "day", result, text)
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
