"""Records that a writer cannot use, sent to its dead-letter topic before their offsets count as done."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec
from confluent_kafka import KafkaException, Producer

from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import DeadLetter
from stream_jobs.online.edits_topic import Unusable

_FLUSH_SECONDS = 10.0


class DeadLetters:
    """The dead-letter topic of ``reader``."""

    def __init__(self, producer: Producer, names: Names, reader: str) -> None:
        self._producer, self._reader, self._topic = producer, reader, names.dead_letters(reader)

    def send(self, unusable: Sequence[Unusable]) -> None:
        """Returns when Kafka has all of them. Raises KafkaException when it does not take them."""
        failures: list[object] = []
        for one in unusable:
            letter = DeadLetter(
                reader=self._reader,
                topic=one.message.topic() or "",
                partition=one.message.partition() or 0,
                offset=one.message.offset() or 0,
                code=one.error.code,
                message=one.error.message,
                payload_base64=base64.b64encode(one.message.value() or b"").decode(),
                at=wall_us(),
            )
            self._producer.produce(
                self._topic,
                msgspec.json.encode(letter),
                key=one.message.key(),
                on_delivery=lambda error, _: failures.append(error) if error is not None else None,
            )
        left = self._producer.flush(_FLUSH_SECONDS) if unusable else 0
        if failures or left:
            raise KafkaException(failures[0] if failures else f"{left} dead letters not taken in {_FLUSH_SECONDS} s")
