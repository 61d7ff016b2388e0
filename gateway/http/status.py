"""Whether the system runs, in words and part by part; asked in the background, so that a page never waits for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from litestar import Request, get

from appliance import notices, registry, status
from appliance.errors import ApplianceError
from appliance.notices import Notice
from appliance.parts.base import Context, Part
from gateway.http.auth import Caller

_log = logging.getLogger("gateway")
_ASK_SECONDS = 15.0
_ANSWER_SECONDS = 8.0
_MOST_NAMED = 3

WORDS = {
    "postgres": "the appliance's own records",
    "sample-db": "the sample business database",
    "kafka": "the log that all data pass through",
    "connect": "capture of changes in the business database",
    "redis": "live features",
    "hbase": "history of features",
    "hbase-thrift": "access to the history of features",
    "opensearch": "the store of alerts",
    "triton": "the model server",
    "triton-watch": "supervision of the model server",
    "flink-jobmanager": "management of the feature jobs",
    "flink-taskmanager": "computation of the features",
    "flink-jobs": "the feature jobs",
    "marker": "progress marks in the log",
    "mender": "mending of the log after a truncate or a loss",
    "writer-redis": "writing of live features",
    "writer-hbase": "writing of the history of features",
    "writer-lake": "the archive of changes and predictions",
    "writeback": "writing of predictions to the business database",
    "parity": "the proof that features served are those of training",
    "keeper": "supervision of all parts",
    "scorer": "scoring of committed rows",
    "alerter": "filing of alerts",
    "trainer": "training of models",
    "learner": "learning from labels, and versions of models in shadow",
    "gateway": "this page and the API",
}


class PartView(msgspec.Struct, frozen=True):
    """does: what the part is for, in plain words. since: Unix time at which it was first found ready, s; 0 if not."""

    name: str
    does: str
    ready: bool
    state: str
    since: int
    why: str


class StatusView(msgspec.Struct, frozen=True):
    """running: every part does its work and there is no notice. checked_at: Unix time, s; 0 before the first check."""

    running: bool
    sentence: str
    checked_at: int
    parts: list[PartView]


def sentence(parts: list[PartView], posted: Sequence[Notice] = ()) -> str:
    """One sentence for a person. posted: what an operator must know although every part works."""
    if not parts:
        return "The system is being checked."
    broken = [part.does for part in parts if not part.ready]
    if not broken and posted:
        return f"The system needs attention: {'; '.join(each.sentence for each in posted)}."
    if not broken:
        return "The system is running: every part does its work."
    if len(broken) > _MOST_NAMED:
        return f"The system needs attention: {len(broken)} of {len(parts)} parts do not work at the moment."
    verb = "does" if len(broken) == 1 else "do"
    return f"The system needs attention: {', '.join(broken)} {verb} not work at the moment."


class Watch:
    """Asks every part in its own thread every 15 s; ``now`` gives the last answers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._last = StatusView(False, sentence([]), 0, [])
        self._parts: dict[str, Part] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def now(self) -> StatusView:
        return self._last

    def close(self) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._last = self._ask()
            except (ApplianceError, OSError) as error:
                _log.warning("the parts could not be asked: %s", error)
            self._stop.wait(_ASK_SECONDS)

    def _ask(self) -> StatusView:
        if not self._parts:
            self._parts = registry.with_needs(registry.part_names())
        parts = [
            PartView(one.name, WORDS.get(one.name, one.name), one.ready, one.state, one.ready_since, one.detail)
            for one in status.of_parts(self._context, self._parts, _ANSWER_SECONDS)
        ]
        parts.sort(key=lambda part: (part.ready, part.name))
        posted = notices.read(self._context.layout)
        running = all(part.ready for part in parts) and not posted
        return StatusView(running, sentence(parts, posted), int(time.time()), parts)


@get("/v1/status", summary="Whether the system runs, part by part", tags=["console"])
async def get_status(request: Request[Caller, Any, Any], watch: Watch) -> StatusView:
    """The last answers of all parts, at most about 20 s old."""
    return watch.now()


@get("/health", status_code=204, include_in_schema=False, opt={"exclude_from_auth": True})
async def health() -> None:
    """Says that this process answers, and nothing else."""
