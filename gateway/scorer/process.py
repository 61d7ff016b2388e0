"""Kafka and CDC scoring with exactly-once: predictions, alerts, dead letters and offsets in one transaction."""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import redis
from confluent_kafka import Message

from appliance.clients.triton_repository import TritonModelError
from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import DeadLetter, Prediction
from appliance.settings import Scoring
from gateway.errors import PartDownError, UnusableRowError
from gateway.names import Keys
from gateway.reader import TopicReader, next_offsets
from gateway.scorer.intake import Intake
from gateway.scorer.transactions import Record, Transactions
from gateway.scoring.scorer import Candidate, Scorer, alert_of
from gateway.waterfall import Waterfall

READER = "scorer"
_log = logging.getLogger(READER)
ROWS_A_CALL = 512
_MOST_RECORDS = 2_048
_IDLE_COMMIT_SECONDS = 5.0
_CATCHUP_LOOK_SECONDS = 0.003
_WAY = 3.0
_LONGEST_WAY_SECONDS = 0.2


@dataclass
class _Batch:
    """What one transaction will carry. rows: service → (record, row)."""

    messages: list[Message]
    rows: dict[str, list[tuple[Message, Candidate]]] = field(default_factory=dict)
    predictions: list[Prediction] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)


def dead_letter(message: Message, error: UnusableRowError) -> DeadLetter:
    return DeadLetter(
        reader=READER,
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        code=error.code,
        message=error.message,
        payload_base64=base64.b64encode(message.value() or b"").decode(),
        at=wall_us(),
    )


class ScoringLoop:
    """Polls, scores, commits. ``step`` raises PartDownError when a part is away: nothing is lost, call it again."""

    def __init__(
        self,
        names: Names,
        intake: Intake,
        scorers: dict[str, Scorer],
        store: redis.Redis,
        reader: TopicReader,
        transactions: Transactions,
        group_metadata: Callable[[], object],
        settings: Scoring,
        figures: Waterfall,
    ) -> None:
        self._names, self._intake, self._scorers, self._store = names, intake, scorers, store
        self._keys = Keys(names.tenant)
        self._reader, self._transactions, self._group_metadata = reader, transactions, group_metadata
        self._catchup_seconds = settings.catchup_wait_ms / 1000
        self._idempotency_seconds = settings.idempotency_hours * 3600
        self._figures = figures
        self._pending: list[Message] = []
        self._skipped: list[Message] = []
        self._committed_at = time.monotonic()

    def step(self, wait_seconds: float) -> int:
        """One batch; returns how many rows were scored."""
        if not self._pending:
            self._pending = self._reader.poll(_MOST_RECORDS, wait_seconds)
        if not self._pending:
            self._commit_idle()
            return 0
        batch = self._take(self._pending)
        for service, rows in batch.rows.items():
            self._score(self._scorers[service], rows, batch)
        if batch.predictions or batch.dead:
            self._commit([*self._skipped, *batch.messages], batch.predictions, batch.dead)
            self._skipped = []
        else:
            self._skipped = _furthest([*self._skipped, *batch.messages])
            self._commit_idle()
        self._pending = []
        return len(batch.predictions)

    def _take(self, messages: list[Message]) -> _Batch:
        """Sort records into rows to score, dead letters, and those that need nothing."""
        batch = _Batch(messages)
        now = next(iter(self._scorers.values())).now_us()
        for message in messages:
            try:
                rows = self._intake.rows(message.topic() or "", message.value(), message.timestamp()[1] * 1000, now)
            except UnusableRowError as error:
                batch.dead.append(dead_letter(message, error))
                continue
            for service, row in rows.items():
                batch.rows.setdefault(service, []).append((message, row))
        return batch

    def _score(self, scorer: Scorer, rows: list[tuple[Message, Candidate]], batch: _Batch) -> None:
        rows = self._first_of_each_request(scorer.service.name, rows)
        waited_us = self._wait_until_caught_up(scorer, [row for _, row in rows])
        for start in range(0, len(rows), ROWS_A_CALL):
            begun, before = time.monotonic(), len(batch.predictions)
            self._score_some(scorer, rows[start : start + ROWS_A_CALL], {"wait": waited_us}, batch)
            self._figures.note_predictions(batch.predictions[before:])
            self._make_way(time.monotonic() - begun)

    def _make_way(self, took_seconds: float) -> None:
        """While the gateway refuses requests, leave Triton and the processor to it most of the time."""
        try:
            pressed = self._store.exists(self._keys.pressure())
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        if pressed:
            time.sleep(min(_LONGEST_WAY_SECONDS, took_seconds * _WAY))

    def _score_some(
        self, scorer: Scorer, rows: list[tuple[Message, Candidate]], spent_us: dict[str, int], batch: _Batch
    ) -> None:
        try:
            batch.predictions += scorer.score([row for _, row in rows], spent_us)
        except UnusableRowError as error:
            if len(rows) == 1:
                batch.dead.append(dead_letter(rows[0][0], error))
                return
            for one in rows:
                self._score_some(scorer, [one], spent_us, batch)
        except TritonModelError as error:
            raise PartDownError("triton", error.message) from error

    def _first_of_each_request(
        self, service: str, rows: list[tuple[Message, Candidate]]
    ) -> list[tuple[Message, Candidate]]:
        """Without the records that repeat a request id. The first record of an id is remembered by its offset, so
        that it is still the first one when it is read again after a failure."""
        requests = [(message, row) for message, row in rows if row.request_id]
        if not requests:
            return rows
        try:
            pipe = self._store.pipeline(transaction=False)
            for message, row in requests:
                key = self._keys.kafka_request(service, row.request_id)
                pipe.execute_command(  # type: ignore[no-untyped-call]
                    "SET", key, _place(message), "NX", "GET", "EX", self._idempotency_seconds
                )
            first = pipe.execute()
        except redis.RedisError as error:
            raise PartDownError("redis", error) from error
        repeated = {
            _place(message)
            for (message, _), place in zip(requests, first, strict=True)
            if place not in (None, _place(message).encode())
        }
        return [(message, row) for message, row in rows if not row.request_id or _place(message) not in repeated]

    def _wait_until_caught_up(self, scorer: Scorer, rows: Sequence[Candidate]) -> int:
        """Wait until the features have reached the highest position, or the budget is spent; µs waited."""
        highest = max((row.position for row in rows), default="")
        started = time.monotonic()
        while highest and not scorer.caught_up(highest):
            if time.monotonic() - started >= self._catchup_seconds:
                break
            time.sleep(_CATCHUP_LOOK_SECONDS)
        return round((time.monotonic() - started) * 1e6)

    def _commit_idle(self) -> None:
        """Commit the offsets of records that need nothing, now and then."""
        if self._skipped and time.monotonic() - self._committed_at >= _IDLE_COMMIT_SECONDS:
            self._commit(self._skipped, [], [])
            self._skipped = []

    def _commit(self, messages: list[Message], predictions: list[Prediction], dead: list[DeadLetter]) -> None:
        self._transactions.commit(self._records(predictions, dead), next_offsets(messages), self._group_metadata())
        self._committed_at = time.monotonic()
        if dead:
            _log.warning("buried %d records, the first: %s", len(dead), dead[0].message[:500])

    def _records(self, predictions: list[Prediction], dead: list[DeadLetter]) -> Iterator[Record]:
        encode = msgspec.json.encode
        for prediction in predictions:
            key = prediction.event_key.encode()
            yield self._names.predictions(prediction.service), key, encode(prediction)
            if alert := alert_of(prediction):
                yield self._names.alerts(), key, encode(alert)
        for letter in dead:
            yield self._names.dead_letters(READER), None, encode(letter)


def _place(message: Message) -> str:
    return f"{message.partition()}:{message.offset()}"


def _furthest(messages: list[Message]) -> list[Message]:
    """The last record of each partition: all that a commit of skipped records needs."""
    last = {(message.topic(), message.partition()): message for message in messages}
    return list(last.values())
