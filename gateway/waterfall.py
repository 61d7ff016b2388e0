"""How long each step of scoring takes, always counted: histograms of a process, in Prometheus' text."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import redis

from appliance.records import Prediction
from gateway.errors import PartDownError

BOUNDS_US = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
"""Upper bounds of the buckets, µs; above the last one is +Inf."""

_NAME = "appliance_scoring_step_seconds"
_TELL_SECONDS = 2.0
_KEPT_SECONDS = 60


class Steps(msgspec.Struct):
    """One histogram. counts: of each bucket, the last one above every bound. sum_us: of all values."""

    service: str
    way: str
    step: str
    counts: list[int]
    sum_us: int = 0


class Waterfall:
    """Histograms for each (service, way in, step). May be used by many threads."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str, str], Steps] = {}
        self._lock = threading.Lock()

    def note(self, service: str, way: str, spent_us: Mapping[str, int], rows: int = 1) -> None:
        """Count the steps of some rows that took them together."""
        with self._lock:
            for step, took in spent_us.items():
                one = self._steps.get((service, way, step))
                if one is None:
                    one = self._steps[service, way, step] = Steps(service, way, step, [0] * (len(BOUNDS_US) + 1))
                one.counts[bisect_left(BOUNDS_US, took)] += rows
                one.sum_us += took * rows

    def note_predictions(self, predictions: Iterable[Prediction]) -> None:
        """Count the steps that predictions name."""
        for prediction in predictions:
            self.note(prediction.service, prediction.way, prediction.spent_us)

    def steps(self) -> list[Steps]:
        """All histograms as they are now."""
        with self._lock:
            return [Steps(one.service, one.way, one.step, list(one.counts), one.sum_us) for one in self._steps.values()]


class Told:
    """Puts a process's histograms where ``/metrics`` finds them, every 2 s. store: a redis-py client."""

    def __init__(self, figures: Waterfall, store: Any, key: str) -> None:
        self._figures, self._store, self._key = figures, store, key
        self._at = float("-inf")

    def tell(self) -> None:
        """Raises PartDownError when Redis does not answer."""
        now = time.monotonic()
        if now - self._at < _TELL_SECONDS:
            return
        try:
            self._store.set(self._key, msgspec.json.encode(self._figures.steps()), ex=_KEPT_SECONDS)
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        self._at = now


def prometheus(steps: Sequence[Steps]) -> str:
    """In Prometheus' text format, seconds."""
    lines = [f"# HELP {_NAME} Time of each step of scoring.", f"# TYPE {_NAME} histogram"]
    lines += [line for one in steps for line in _lines(one)]
    return "\n".join(lines) + "\n"


def _lines(one: Steps) -> Iterator[str]:
    labels = f'service="{one.service}",way="{one.way}",step="{one.step}"'
    total = 0
    for bound, count in zip(BOUNDS_US, one.counts, strict=False):
        total += count
        yield f'{_NAME}_bucket{{{labels},le="{bound / 1e6:g}"}} {total}'
    total += one.counts[-1]
    yield f'{_NAME}_bucket{{{labels},le="+Inf"}} {total}'
    yield f"{_NAME}_sum{{{labels}}} {one.sum_us / 1e6}"
    yield f"{_NAME}_count{{{labels}}} {total}"
