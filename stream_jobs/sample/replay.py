"""``appliance sample replay``: commits what is to come, as fast as asked, and goes on exactly where it was."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from appliance.parts.base import Context
from stream_jobs.sample import database, state
from stream_jobs.sample.clock import HeldClock
from stream_jobs.sample.events import Event, EventLog

_CHUNK = 5_000
_NOTE_SECONDS = 0.5
_LONGEST_SLEEP_SECONDS = 0.05


@dataclass(frozen=True)
class Pace:
    """rows_per_second: as many rows; speed: as many seconds of event time in one of the wall; neither: no pause."""

    rows_per_second: float | None = None
    speed: float | None = None


@dataclass
class Progress:
    """position: events committed of ``total``. event_us: time of the last one, µs UTC. committed: in this run."""

    position: int
    total: int
    event_us: int
    committed: int = 0


def open_log(context: Context, loaded: state.State) -> EventLog:
    """The events to come. Takes about a second for a million."""
    return EventLog(
        [(stream.key, stream.time, state.rows(context, number)) for number, stream in enumerate(loaded.streams)]
    )


def find_position(context: Context, loaded: state.State, log: EventLog, writer: database.Writer) -> int:
    """The number of events that are committed: the noted position and every event after it that is in the database."""
    position = min(state.position(context), len(log))
    keys = [stream.key for stream in loaded.streams]
    while position < len(log):
        last = min(position + _CHUNK, len(log))
        wanted, streams = log.keys(position, last), log.streams(position, last)
        there = np.zeros(last - position, bool)
        for number, present in enumerate(writer.present(wanted, keys)):
            there[streams == number] = [int(key) in present for key in wanted[number]]
        missing = np.flatnonzero(~there)
        if len(missing):
            position += int(missing[0])
            break
        position = last
    return position


class Replay:
    """One run. ``stop`` is asked before each commit."""

    def __init__(self, context: Context, writer: database.Writer, log: EventLog, position: int, held_us: int) -> None:
        self._context, self._writer, self._log = context, writer, log
        self._clock = HeldClock(context)
        event_us = int(log.time_us[position - 1]) if position else held_us
        self.progress = Progress(position, len(log), event_us)
        self._noted = 0.0
        self._buffer: list[Event] = []
        self._buffer_first = 0

    def run(
        self, pace: Pace, *, batch: int, rows: int | None, until_us: int | None, stop: Callable[[], bool],
        tell: Callable[[Progress], None],
    ) -> Progress:  # fmt: skip
        """Commit until ``rows`` are done, ``until_us`` is reached (exclusive), nothing is left, or ``stop`` says so."""
        progress = self.progress
        last = progress.total if rows is None else min(progress.total, progress.position + rows)
        if until_us is not None:
            last = min(last, int(np.searchsorted(self._log.time_us, until_us, side="left")))
        began, event_began = time.monotonic(), progress.event_us
        self._clock.advance(progress.event_us, now=True)
        try:
            while progress.position < last and not stop():
                size = min(batch, last - progress.position)
                self._wait(pace, began, event_began, progress.position + size - 1, stop)
                if stop():
                    break
                self._commit(size)
                tell(progress)
        finally:
            state.note_position(self._context, progress.position)
            self._clock.advance(progress.event_us, now=True)
            self._clock.close()
        return progress

    def _commit(self, size: int) -> None:
        progress = self.progress
        self._writer.commit(self._events(size))
        progress.position += size
        progress.committed += size
        progress.event_us = int(self._log.time_us[progress.position - 1])
        self._clock.advance(progress.event_us)
        if time.monotonic() - self._noted > _NOTE_SECONDS:
            state.note_position(self._context, progress.position)
            self._noted = time.monotonic()

    def _events(self, size: int) -> list[Event]:
        """The next events, read from the tables in chunks."""
        first = self.progress.position
        if not self._buffer or self._buffer_first + len(self._buffer) < first + size or self._buffer_first > first:
            self._buffer = list(self._log.events(first, min(first + max(size, _CHUNK), len(self._log))))
            self._buffer_first = first
        return self._buffer[first - self._buffer_first : first - self._buffer_first + size]

    def _wait(self, pace: Pace, began: float, event_began: int, number: int, stop: Callable[[], bool]) -> None:
        """Sleep until event ``number`` is due; at a ``speed`` the clock moves meanwhile."""
        due_us = int(self._log.time_us[number])
        while not stop():
            elapsed = time.monotonic() - began
            if pace.speed is not None:
                remaining = (due_us - event_began) / 1e6 / pace.speed - elapsed
                reached_us = event_began + round(elapsed * pace.speed * 1e6)
                self._clock.advance(min(due_us, max(self.progress.event_us, reached_us)))
            elif pace.rows_per_second is not None:
                remaining = self.progress.committed / pace.rows_per_second - elapsed
            else:
                return
            if remaining <= 0:
                return
            time.sleep(min(remaining, _LONGEST_SLEEP_SECONDS))
