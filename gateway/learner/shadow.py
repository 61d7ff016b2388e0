"""One version in shadow: predictions with their features in, its scores and the champion's out.

Predictions carry the features they were scored with, so nothing is read a second time. Reading begins some hours back:
of those predictions the labels are still to come, so a new version need not wait for them on traffic of its own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from confluent_kafka import OFFSET_END, Consumer, KafkaException, Message, Producer, TopicPartition

from appliance.clients.triton import TritonClient
from appliance.clients.triton_repository import TritonUnavailableError
from appliance.clock import wall_us
from appliance.names import Names
from appliance.records import FeatureValue, ShadowScore, Way
from gateway.errors import PartDownError
from gateway.reader import Start, TopicReader, committed, next_offsets
from stream_jobs.plan import Service

_log = logging.getLogger("learner")
_MOST_RECORDS = 1_000
_CALL_SECONDS = 5.0
_FLUSH_SECONDS = 10.0


class _Scored(msgspec.Struct, frozen=True):
    """What of a ``Prediction`` is needed here."""

    prediction_id: str
    service: str
    way: Way
    event_key: str
    as_of: int
    features: dict[str, FeatureValue]
    score: float
    model_version: str
    scored_at: int


@dataclass(frozen=True)
class Pair:
    """name: what Triton calls the version in shadow."""

    name: str
    version: str
    champion: str


def from_back(consumer: Consumer, hours: int) -> Start:
    """Start where the group has committed, else at the first record of the last hours."""
    known = committed(consumer)

    def start(partitions: list[TopicPartition]) -> list[TopicPartition]:
        since = int(time.time() - hours * 3600) * 1000
        begins = consumer.offsets_for_times(
            [TopicPartition(p.topic, p.partition, since) for p in partitions], timeout=_CALL_SECONDS
        )
        found = []
        for there, begin in zip(known(partitions), begins, strict=True):
            first = begin.offset if begin.offset >= 0 else OFFSET_END
            found.append(there if there.offset >= 0 else TopicPartition(there.topic, there.partition, first))
        return found

    return start


class Shadow:
    """Follows one service's predictions for one pair of versions. Not for several threads."""

    def __init__(
        self, names: Names, service: Service, pair: Pair, consumer: Consumer, producer: Producer, hours: int
    ) -> None:
        self.pair, self._service, self._names = pair, service, names
        self._consumer, self._producer = consumer, producer
        self._reader = TopicReader(consumer, [names.predictions(service.name)], from_back(consumer, hours))
        self._decoder = msgspec.json.Decoder(_Scored)

    def step(self, triton: TritonClient, wait_seconds: float) -> int:
        """Score a batch and commit its offsets once the scores are in Kafka; predictions scored.

        Raises PartDownError when Kafka or Triton does not answer; the batch is then read again by a new ``Shadow``.
        """
        messages = self._reader.poll(_MOST_RECORDS, wait_seconds)
        if not messages:
            return 0
        predictions = [one for one in map(self._decoded, messages) if one is not None]
        try:
            scores = self._scores(triton, predictions) if predictions else []
        except TritonUnavailableError as error:
            raise PartDownError("triton", error.message) from error
        failures: list[object] = []
        try:
            for score in scores:
                self._producer.produce(
                    self._names.shadow(self._service.name), msgspec.json.encode(score), score.event_key.encode(),
                    on_delivery=lambda error, _: failures.append(error) if error is not None else None,
                )  # fmt: skip
            left = self._producer.flush(_FLUSH_SECONDS)
            if left or failures:
                raise PartDownError("kafka", failures[0] if failures else f"{left} scores not taken")
            self._consumer.commit(offsets=next_offsets(messages), asynchronous=False)
        except (BufferError, KafkaException) as error:
            raise PartDownError("kafka", error) from error
        return len(scores)

    def _decoded(self, message: Message) -> _Scored | None:
        """None for what is no prediction (the lake's writer puts those aside) and for one without every input."""
        try:
            found = self._decoder.decode(message.value() or b"")
        except msgspec.DecodeError as error:
            _log.warning("passed over a record that is no prediction: %s", error)
            return None
        return found if found.features.keys() >= set(self._service.features) else None

    def _scores(self, triton: TritonClient, predictions: Sequence[_Scored]) -> list[ShadowScore]:
        x = np.array([[_number(p.features[name]) for name in self._service.features] for p in predictions], np.float32)
        mine, version = triton.infer(self.pair.name, x)
        theirs = np.array([p.score for p in predictions])
        other = np.flatnonzero([p.model_version != self.pair.champion for p in predictions])
        asked = self.pair.champion
        if len(other):
            theirs[other], asked = triton.infer(self._service.model, x[other])
        if (version, asked) != (self.pair.version, self.pair.champion):
            raise PartDownError("triton", f"it serves versions {version} and {asked}, expected {self.pair}")
        now = wall_us()
        return [
            ShadowScore(
                p.prediction_id, p.service, p.event_key, p.way, p.as_of, self._service.model, self.pair.version,
                float(score), self.pair.champion, float(served), p.scored_at, now,
            )
            for p, score, served in zip(predictions, mine, theirs, strict=True)
        ]  # fmt: skip

    def close(self) -> None:
        self._consumer.close()


def _number(feature: FeatureValue) -> float:
    value = feature.value
    return float("nan") if value is None or isinstance(value, list) else float(value)
