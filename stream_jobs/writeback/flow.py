"""The predictions of one service on their way into its table; a database that is away holds up no other service."""

from __future__ import annotations

import logging
import time
from typing import Any

import msgspec
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from appliance import notices
from appliance.clients import kafka
from appliance.errors import ApplianceError
from appliance.names import Names
from appliance.parts.base import Context
from appliance.records import Prediction
from stream_jobs.errors import WritebackError
from stream_jobs.online.dead_letters import DeadLetters
from stream_jobs.online.edits_topic import Unusable
from stream_jobs.writeback import postgres, table
from stream_jobs.writeback.record import Target

NAME = "writeback"
"""The process, and its user on Kafka and Redis."""

_MOST = 500
"""Predictions in one transaction of the business database: its locks are held for some 50 ms."""
_METADATA_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 5.0
_NOTICE_SECONDS = 10.0
_PASSING = (KafkaError._PARTITION_EOF, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT)
_LOGGER = logging.getLogger(NAME)
_DECODER = msgspec.json.Decoder(Prediction)


def group(names: Names, target: Target) -> str:
    """Kafka group of a target: one that is added again begins anew."""
    return f"{names.tenant}.{NAME}.{target.service}.{target.made_at}"


def partitions(consumer: Consumer, topic: str) -> list[TopicPartition]:
    """Of a topic, each where the group goes on; none if it does not exist. Raises KafkaException."""
    known = consumer.list_topics(topic, timeout=_METADATA_SECONDS).topics[topic]
    if known.error is not None:
        if known.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return []
        raise KafkaException(known.error)
    asked = [TopicPartition(topic, number) for number in sorted(known.partitions)]
    found = consumer.committed(asked, timeout=_METADATA_SECONDS)
    return [TopicPartition(p.topic, p.partition, p.offset if p.offset >= 0 else OFFSET_BEGINNING) for p in found]


class Flow:
    """Reads on where the group stands. Offsets are committed after the table has the rows."""

    def __init__(self, context: Context, target: Target, dead_letters: DeadLetters) -> None:
        self._context, self._target, self._dead_letters = context, target, dead_letters
        self._consumer = kafka.consumer(context, NAME, group(context.names, target))
        found = partitions(self._consumer, context.names.predictions(target.service))
        self.whole = bool(found)
        self._consumer.assign(found)
        self._pending: list[Message] = []
        self._connection: psycopg.Connection[Any] | None = None
        self._wait, self._try_at, self._failing_since = 0.1, 0.0, 0.0

    def step(self, seconds: float) -> int:
        """Wait so long for predictions and write what has come; returns how many. Raises KafkaException.

        While the database does not take them they are kept, and tried again within 5 s.
        """
        if not self._pending:
            self._pending = self._read(seconds)
        elif time.monotonic() < self._try_at:
            time.sleep(min(seconds, max(self._try_at - time.monotonic(), 0)))
            return 0
        if not self._pending:
            return 0
        try:
            self._write(self._pending)
        except (psycopg.Error, WritebackError) as error:
            self._failed(error)
            return 0
        if self._failing_since:
            _LOGGER.info("the table takes predictions again", extra={"table": self._target.table})
        self._well()
        done, self._pending = self._pending, []
        self._consumer.commit(offsets=_next(done), asynchronous=False)
        return len(done)

    def close(self) -> None:
        self._consumer.close()
        if self._connection is not None:
            self._connection.close()

    def _read(self, seconds: float) -> list[Message]:
        first = self._consumer.poll(seconds)
        if first is None:
            return []
        messages = [first, *self._consumer.consume(_MOST - 1, 0)]
        for message in messages:
            error = message.error()
            if error is not None and error.code() not in _PASSING:
                raise KafkaException(error)
        return [message for message in messages if message.error() is None]

    def _write(self, messages: list[Message]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = postgres.connect(self._context, self._target)
        unusable: list[Unusable] = []
        rows: list[tuple[Any, ...]] = []
        of: list[Message] = []
        for message in messages:
            try:
                rows.append(table.row(_DECODER.decode(message.value() or b"")))
                of.append(message)
            except msgspec.MsgspecError as error:
                unusable.append(_unusable(message, "writeback.unreadable", f"not a prediction: {error}"))
        refused = table.write(self._connection, self._target, rows)
        for place, why in refused:
            text = f"{self._target.table} refuses the row: {str(why).strip()}"
            unusable.append(_unusable(of[place], "writeback.refused", text))
        self._dead_letters.send(unusable)
        if unusable:
            _LOGGER.warning("predictions put aside", extra={"count": len(unusable), "first": str(unusable[0].error)})

    def _failed(self, error: Exception) -> None:
        now = time.monotonic()
        self._failing_since = self._failing_since or now
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._wait = min(self._wait * 2, _LONGEST_WAIT_SECONDS)
        self._try_at = now + self._wait
        reason = error.message if isinstance(error, ApplianceError) else str(error).strip()
        _LOGGER.warning("the table does not take predictions", extra={"table": self._target.table, "why": reason})
        if now - self._failing_since >= _NOTICE_SECONDS:
            notices.post(
                self._context.layout,
                _notice(self._target),
                f"Predictions of {self._target.service} do not reach {self._target.table} of {self._target.address}: "
                f"{reason}",
                f"appliance writeback check {self._target.service}",
            )

    def _well(self) -> None:
        if self._failing_since:
            notices.take_back(self._context.layout, _notice(self._target))
        self._wait, self._failing_since = 0.1, 0.0


def _notice(target: Target) -> str:
    return f"writeback-{target.service}"


def forget_notice(context: Context, target: Target) -> None:
    """Nobody waits for this table any more."""
    notices.take_back(context.layout, _notice(target))


def _unusable(message: Message, code: str, text: str) -> Unusable:
    return Unusable(message, WritebackError(code, text))


def _next(messages: list[Message]) -> list[TopicPartition]:
    last = {(message.topic() or "", message.partition() or 0): message.offset() or 0 for message in messages}
    return [TopicPartition(topic, number, offset + 1) for (topic, number), offset in last.items()]
