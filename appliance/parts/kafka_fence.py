"""Before Kafka starts after an unclean end: its controller alone, until it has fenced the broker of before.

Kafka 4.3.1 can lose the end of a transaction when a broker that was killed comes back (KAFKA-20734). A new broker
begins with the old metadata, in which it still leads every partition, and takes up the transactions that were being
committed. Then the controller fences its former self, no partition has a leader, and what it finds no leader for it
takes for deleted: the transaction counts as complete, its markers were never written, and readers of committed records
wait for ever. With the former broker fenced first, the new one leads nothing until it is registered. It also starts
sooner: it does not wait until the session of its former self is over.

``python -m appliance.parts.kafka_fence LOG_FOLDER -- CONTROLLER_COMMAND… -- BROKER_COMMAND…`` becomes the broker.
"""

from __future__ import annotations

import itertools
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

_ACTIVE = "Performing controller activation"
_FENCED = "Fencing broker"
_LONGEST_SECONDS = 20.0
_SESSION_SECONDS = 4.0
"""From the first to the second: the broker's session is over after one second. There is none to fence after this."""
_WRITTEN_SECONDS = 0.5
"""From saying so until it is in the log: the controller gathers records for 25 ms before it writes them."""


def must_fence(log: Path) -> bool:
    """Whether the broker of this log folder led partitions and did not end by itself."""
    led = any(folder.is_dir() and not folder.name.startswith("__cluster_metadata") for folder in log.iterdir())
    return led and not (log / ".kafka_cleanshutdown").exists()


def fence(command: list[str]) -> str:
    """Run the controller until it has fenced the broker; returns how that went, in a sentence."""
    began = time.monotonic()
    controller = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    assert controller.stdout is not None
    threading.Thread(target=_read, args=(controller.stdout, lines), daemon=True).start()
    try:
        fenced = _heard(lines, began + _LONGEST_SECONDS)
        if fenced:
            time.sleep(_WRITTEN_SECONDS)
    finally:
        controller.terminate()
        try:
            controller.wait(_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            controller.kill()
            controller.wait()
    told = "the broker of before is fenced" if fenced else "there was no broker of before to fence"
    return f"{told} ({time.monotonic() - began:.1f} s)"


def _read(lines: Iterable[str], into: queue.SimpleQueue[str | None]) -> None:
    for line in lines:
        into.put(line)
        if " INFO " not in line:
            print(line, end="", flush=True)
    into.put(None)


def _heard(lines: queue.SimpleQueue[str | None], deadline: float) -> bool:
    """Whether the controller has said that it fenced a broker."""
    while (left := deadline - time.monotonic()) > 0:
        try:
            line = lines.get(timeout=left)
        except queue.Empty:
            return False
        if line is None or _FENCED in line:
            return line is not None
        if _ACTIVE in line:
            deadline = min(deadline, time.monotonic() + _SESSION_SECONDS)
    return False


def main() -> None:
    log, *rest = sys.argv[1:]
    controller, broker = (list(words) for split, words in itertools.groupby(rest, "--".__eq__) if not split)
    if must_fence(Path(log)):
        print(f"{fence(controller)}; starting", flush=True)
    os.execv(broker[0], broker)


if __name__ == "__main__":
    main()
