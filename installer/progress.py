"""What a person sees while steps run."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_MIB = 1024 * 1024
_LIFE_SECONDS = 15.0


def received_bytes() -> int:
    """Bytes that this machine's network interfaces, loopback not counted, have received since it started."""
    total = 0
    for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
        name, _, figures = line.partition(":")
        if name.strip() != "lo":
            total += int(figures.split()[0])
    return total


@dataclass
class Progress:
    """Prints `[step/steps] what … seconds`, with signs of life while a step takes long.

    total: number of steps. changed: titles of the steps that did something.
    """

    total: int
    number: int = 0
    changed: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    received: int = field(default_factory=received_bytes)

    def line(self, text: str) -> None:
        print(text, flush=True)

    def note(self, text: str) -> None:
        """A remark inside the running step."""
        self.line(f"        {text}")

    def kept(self, title: str) -> None:
        """A step with nothing to do."""
        self.number += 1
        self.line(f"[{self.number:2}/{self.total}] {title}: already there")

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """A step that does something."""
        self.number += 1
        self.line(f"[{self.number:2}/{self.total}] {title}")
        begun, before, over = time.monotonic(), received_bytes(), threading.Event()

        def live() -> None:
            while not over.wait(_LIFE_SECONDS):
                mib = (received_bytes() - before) / _MIB
                self.note(f"still at it: {time.monotonic() - begun:.0f} s, {mib:.0f} MiB received")

        thread = threading.Thread(target=live, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
        self.changed.append(title)
        mib = (received_bytes() - before) / _MIB
        self.note(f"done in {time.monotonic() - begun:.1f} s" + (f", {mib:.0f} MiB received" if mib >= 1 else ""))

    def summary(self) -> str:
        seconds = time.monotonic() - self.started
        if not self.changed:
            return f"Nothing to change: everything was already there ({seconds:.0f} s)."
        mib = (received_bytes() - self.received) / _MIB
        return (
            f"{len(self.changed)} of {self.total} steps done in {seconds:.0f} s; the machine's network interfaces "
            f"received {mib:.0f} MiB meanwhile."
        )


def ask(question: str) -> bool:
    """Yes or no from the terminal; without a terminal there is nobody to ask, and the answer is yes."""
    if not sys.stdin.isatty():
        return True
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
