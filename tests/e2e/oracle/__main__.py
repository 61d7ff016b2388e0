"""``APPLIANCE_HOME=… python -m tests.e2e.oracle``: random changes, kills, and the comparison with plain SQL."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from appliance import context as contexts
from tests.e2e.oracle import kills, ours, report
from tests.e2e.oracle.run import Options, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.oracle", description=__doc__)
    parser.add_argument("--changes", type=int, default=20_000, help="rows to change, in committed transactions (20000)")
    parser.add_argument("--kills", type=int, default=1, help="times that each part is killed (1)")
    parser.add_argument("--parts", default=",".join(kills.PARTS), help="which parts are killed (all that matter)")
    parser.add_argument("--probes", type=int, default=100_000, help="probes asked during the run (100000)")
    parser.add_argument("--entities", type=int, help="entities of each table (a 2000th of the changes, at least 40)")
    parser.add_argument("--rate", type=float, help="changes a second at most (as fast as the pipe takes them)")
    parser.add_argument("--workers", type=int, default=2, help="applications that commit at the same time (2)")
    parser.add_argument(
        "--backlog", type=int, help="changes not servable beyond which they wait (a tenth of all, 100000 at most)"
    )
    parser.add_argument("--largest", type=int, default=5_000, help="rows of the largest statement (5000)")
    parser.add_argument("--truncates", type=int, default=0, help="truncates sprinkled in (0)")
    parser.add_argument("--times", type=int, default=5, help="as-of times for every entity at the end (5)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--settle-seconds", type=float, default=900, help="longest wait for each store at the end (900)"
    )
    parser.add_argument("--out", type=Path, help="folder of oracle.json, oracle.md and oracle.log (a new one in /tmp)")
    parser.add_argument("--keep", action="store_true", help="leave database, source and views in place")
    arguments = parser.parse_args()
    out: Path = arguments.out or Path(tempfile.mkdtemp(prefix="oracle-"))
    out.mkdir(parents=True, exist_ok=True)
    options = Options(
        changes=arguments.changes, kills=arguments.kills,
        parts=tuple(part for part in arguments.parts.split(",") if part), probes=arguments.probes,
        entities=arguments.entities, rate=arguments.rate, workers=arguments.workers, backlog=arguments.backlog,
        largest=arguments.largest, truncates=arguments.truncates, times=arguments.times, seed=arguments.seed,
        settle_seconds=arguments.settle_seconds,
    )  # fmt: skip
    began = time.monotonic()
    with (out / "oracle.log").open("a") as log:

        def say(text: str) -> None:
            line = f"{time.monotonic() - began:8.1f} s  {text}\n"
            for stream in (sys.stderr, log):
                stream.write(line)
                stream.flush()

        context = contexts.current()
        result = run(context, options, say)
        report.write(result, out)
        if not arguments.keep:
            say("taking the oracle's views, source and database away")
            ours.clear(context)
    sys.stdout.write(report.markdown(result) + f"\n{out}/oracle.json, oracle.md, oracle.log\n")
    return 1 if result.different else 0


if __name__ == "__main__":
    sys.exit(main())
