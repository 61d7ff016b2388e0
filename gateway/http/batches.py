"""Requests that wait at the same time are scored together: one read of Redis, one call of Triton, one spool write.

While a batch is under way the next one gathers, so batches grow with the load and a lone request waits for nobody. A
batch that takes unusually long (a read of the past from HBase) does not hold up the others: a second thread goes on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from appliance import limits
from appliance.errors import ApplianceError
from appliance.names import Names
from appliance.records import FeatureValue, Prediction
from gateway.errors import GatewayError, RequestTimeoutError, TooLargeError, UnusableRowError
from gateway.http import requests
from gateway.http.requests import Asked
from gateway.ledger.ledger import Entry, Ledger
from gateway.scoring import staleness
from gateway.scoring.scorer import Candidate, Reading, Scorer, alert_of
from gateway.waterfall import Waterfall

_THREADS = 3
_MOST_ROWS = 512
_SLOW_SECONDS = 0.05


@dataclass(eq=False)
class Job:
    """A request that waits for its predictions.

    request_id: the caller's, or one made for it. key: of the memory of request ids, "" without one. attempt_us: wall
    clock. arrived, submitted: ``time.perf_counter_ns``. deadline: ``timeout_ms`` later, of ``time.monotonic``. settled:
    done when it is known what came of it, also when nobody waits any more.
    """

    scorer: Scorer
    asked: Asked
    app: str
    request_id: str
    key: str
    body_sha256: str
    attempt_us: int
    arrived: int
    submitted: int
    timeout_ms: int
    deadline: float
    settled: asyncio.Future[None]
    predictions: list[Prediction] = field(default_factory=list)
    error: Exception | None = None
    repeated: bool = False
    ledger_us: int = 0
    delivered: int = 0


@dataclass
class _Part:
    """What a job puts into a batch. places: of its rows in the batch."""

    job: Job
    candidates: list[Candidate]
    requested: list[dict[str, FeatureValue]]
    places: range = range(0)


class Batches:
    """Gathers and scores the jobs of one service. ``submit`` belongs to the event loop's thread."""

    def __init__(self, names: Names, ledger: Ledger, waterfall: Waterfall, loop: asyncio.AbstractEventLoop) -> None:
        self._names, self._ledger, self._waterfall, self._loop = names, ledger, waterfall, loop
        self._queue: deque[Job] = deque()
        self._turn = threading.Condition()
        self._under_way, self._begun, self._closed = 0, 0.0, False
        self._threads = [threading.Thread(target=self._run, name="scoring", daemon=True) for _ in range(_THREADS)]
        for thread in self._threads:
            thread.start()

    def submit(self, job: Job) -> None:
        """``job.settled`` is done once the job has predictions or an error."""
        self._queue.append(job)
        if not self._under_way:
            with self._turn:
                self._turn.notify()

    def close(self) -> None:
        with self._turn:
            self._closed = True
            self._turn.notify_all()
        for thread in self._threads:
            thread.join()

    def _next(self) -> list[Job]:
        """The next batch, waited for; none when closed and empty."""
        with self._turn:
            while True:
                free = not self._under_way or time.monotonic() - self._begun > _SLOW_SECONDS
                if self._queue and free:
                    self._under_way += 1
                    self._begun = time.monotonic()
                    return self._gathered()
                if self._closed and not self._queue:
                    return []
                self._turn.wait(_SLOW_SECONDS)

    def _gathered(self) -> list[Job]:
        first = self._queue.popleft()
        jobs, rows = [first], len(first.asked.rows)
        while self._queue:
            following = self._queue[0]
            rows += len(following.asked.rows)
            if rows > _MOST_ROWS or following.scorer is not first.scorer:
                break
            jobs.append(self._queue.popleft())
        return jobs

    def _run(self) -> None:
        while jobs := self._next():
            try:
                self._score(jobs)
            finally:
                with self._turn:
                    self._under_way -= 1
                self._loop.call_soon_threadsafe(_settle, jobs)

    def _score(self, jobs: Sequence[Job]) -> None:
        """Give every job its predictions or its error."""
        try:
            try:
                self._together(jobs)
            except UnusableRowError as error:
                if len(jobs) == 1:
                    jobs[0].error = error
                for job in jobs if len(jobs) > 1 else ():
                    job.error, job.predictions = None, []
                    self._score([job])
        except ApplianceError as error:
            _fail(jobs, error)
        except Exception as error:  # noqa: BLE001 - a fault of ours: each caller is told, and the thread goes on
            _fail(jobs, error)

    def _together(self, jobs: Sequence[Job]) -> None:
        began, begun_ns = time.monotonic(), time.perf_counter_ns()
        late = [job for job in jobs if job.deadline <= began]
        for job in late:
            job.error = timed_out(job)
        waiting = [part for job in jobs if job.deadline > began and (part := _part(job)) is not None]
        if not waiting:
            return
        deadline = max(part.job.deadline for part in waiting)
        end = 0
        for part in waiting:
            part.places = range(end, end := end + len(part.candidates))
        with_id = [part.job for part in waiting if part.job.key]
        reading = waiting[0].job.scorer.read(
            [one for part in waiting for one in part.candidates],
            [one for part in waiting for one in part.requested],
            [job.key for job in with_id],
            deadline,
        )
        for job, raw in zip(with_id, reading.also, strict=True):
            if raw is not None:
                _recall(job, raw)
        left = [part for part in waiting if not part.job.repeated and not part.job.error and _fresh(part.job, reading)]
        if left:
            self._predict(left, reading, begun_ns, deadline)

    def _predict(self, parts: Sequence[_Part], reading: Reading, begun_ns: int, deadline: float) -> None:
        spent = []
        for part in parts:
            job = part.job
            before = {
                "parse": (job.submitted - job.arrived) // 1000,
                "queue": max(0, (begun_ns - job.submitted) // 1000),
            }
            spent += [before] * len(part.places)
        places = [place for part in parts for place in part.places]
        predictions = iter(parts[0].job.scorer.predict(reading, places, spent, deadline))
        for part in parts:
            part.job.predictions = [next(predictions) for _ in part.places]
        self._record([part.job for part in parts])

    def _record(self, jobs: Sequence[Job]) -> None:
        """Into the spool, before anybody is told."""
        started = time.perf_counter_ns()
        entries, kept = [], []
        for job in jobs:
            try:
                entries.append(self._entry(job))
            except GatewayError as error:
                job.error = error
            else:
                kept.append(job)
        if entries:
            self._ledger.write(entries)
        took = (time.perf_counter_ns() - started) // 1000
        for job in kept:
            job.ledger_us = took
            first = job.predictions[0]
            self._waterfall.note(first.service, "http", {**first.spent_us, "ledger": took}, len(job.predictions))

    def _entry(self, job: Job) -> Entry:
        records, encoded = [], []
        for prediction in job.predictions:
            key, value = prediction.event_key.encode(), msgspec.json.encode(prediction)
            encoded.append(value)
            records.append((self._names.predictions(prediction.service), key, value))
            if alert := alert_of(prediction):
                records.append((self._names.alerts(), key, msgspec.json.encode(alert)))
        largest = max(len(value) for _, _, value in records)
        if largest > limits.RECORD_BYTES:
            raise TooLargeError(
                "request.too_large_row", f"a prediction with its row has {largest} bytes, at most {limits.RECORD_BYTES}"
            )
        return Entry(records, (job.key, requests.memory(job.body_sha256, encoded)) if job.key else None)


def _fail(jobs: Sequence[Job], error: Exception) -> None:
    """The error of those that have neither one of their own nor an answer from before."""
    for job in jobs:
        if job.error is None and not job.repeated:
            job.error = error


def _settle(jobs: Sequence[Job]) -> None:
    """In the event loop's thread: tell who waits."""
    now = time.perf_counter_ns()
    for job in jobs:
        job.delivered = now
        job.settled.set_result(None)


def _part(job: Job) -> _Part | None:
    """The job's rows as candidates; None when one of them cannot be scored, which is then the job's error."""
    service = job.scorer.service
    candidates, requested = [], []
    try:
        for row in job.asked.rows:
            if service.event_time not in row:
                row[service.event_time] = job.scorer.now_us()
            candidates.append(
                Candidate(
                    way="http",
                    row=row,
                    event_key=str(row[service.event_key]),
                    as_of=int(row[service.event_time] or 0),
                    first_attempt=job.attempt_us,
                    request_id=job.request_id,
                    app=job.app,
                    max_staleness_ms=job.asked.max_staleness_ms,
                )
            )
            requested.append(job.scorer.request_features(row))
    except GatewayError as error:
        job.error = error
        return None
    return _Part(job, candidates, requested)


def _recall(job: Job, raw: bytes) -> None:
    """The job is a repetition: the first answer is its answer."""
    try:
        job.predictions, job.repeated = requests.recalled(raw, job.body_sha256), True
    except GatewayError as error:
        job.error = error


def _fresh(job: Job, reading: Reading) -> bool:
    try:
        staleness.check(reading.found.ages_ms, job.asked.max_staleness_ms)
    except GatewayError as error:
        job.error = error
        return False
    return True


def timed_out(job: Job) -> RequestTimeoutError:
    """What a request is told whose time is over."""
    return RequestTimeoutError(
        "request.timeout", f"no prediction within {job.timeout_ms} ms", context={"timeout_ms": job.timeout_ms},
        hint="send fewer rows, or the same request_id again: it is scored once",
    )  # fmt: skip
