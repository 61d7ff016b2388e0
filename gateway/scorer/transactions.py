"""Kafka transactions that carry records and the offsets they come from: both are committed, or neither.

librdkafka 2.16 can wait for ever in ``send_offsets_to_transaction``, whatever timeout it is given, when the broker was
away and comes back (confluentinc/librdkafka, issues 5456 and 5511: it keeps the group coordinator's former connection,
and its time limit is never looked at). So a producer that has seen the broker away is not used again, and a commit that
does not end ends the process: supervisord starts it again, where the last committed transaction ended.
"""

from __future__ import annotations

import faulthandler
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from appliance.clients import kafka
from appliance.parts.base import Context
from gateway.errors import PartDownError

_BEGIN_SECONDS = 30.0
_ANSWER_SECONDS = 15.0
_ENDLESS_SECONDS = 40.0
"""Longer than both waits of a commit together."""

Record = tuple[str, bytes | None, bytes]
"""Topic, key, value."""


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """End this process, its stacks written to stderr, if the block takes longer. Not to be nested."""
    faulthandler.dump_traceback_later(seconds, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


class Transactions:
    """A producer with a transactional id. Not for several threads.

    Making one ends the unfinished transaction of the one before it. Raises PartDownError when Kafka does not answer,
    here and in ``commit``; it is not known then what was committed, and this object is not to be used again.
    """

    def __init__(self, context: Context, user: str, transactional_id: str) -> None:
        self._away: KafkaError | None = None
        self._producer = kafka.producer(
            context,
            user,
            **{
                "transactional.id": transactional_id,
                "transaction.timeout.ms": 10_000,
                "linger.ms": 0,
                "error_cb": self._heard,
            },
        )
        with _kafka_errors():
            self._producer.init_transactions(_BEGIN_SECONDS)

    def _heard(self, error: KafkaError) -> None:
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._away = error

    def commit(self, records: Iterable[Record], offsets: list[TopicPartition], group_metadata: Any) -> None:
        """One transaction. group_metadata: ``Consumer.consumer_group_metadata()`` of the reader of the offsets."""
        self._producer.poll(0)
        if self._away is not None:
            raise PartDownError("kafka", self._away)
        with _kafka_errors(), bounded(_ENDLESS_SECONDS):
            self._producer.begin_transaction()
            for record in records:
                self._send(*record)
            self._producer.send_offsets_to_transaction(offsets, group_metadata, _ANSWER_SECONDS)
            self._producer.commit_transaction(_ANSWER_SECONDS)

    def _send(self, topic: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return


@contextmanager
def _kafka_errors() -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise PartDownError("kafka", error.args[0]) from error
