"""Predictions of the API into Kafka: acknowledged by all replicas before the caller is answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import msgspec
from confluent_kafka import KafkaException, Producer

from appliance.names import Names
from appliance.records import Prediction
from gateway.errors import PartDownError
from gateway.scoring.scorer import alert_of


class _Delivery:
    """Counts acknowledgements of one request's records."""

    def __init__(self, records: int) -> None:
        self._left, self._error = records, None
        self._lock, self._done = threading.Lock(), threading.Event()

    def __call__(self, error: Any, message: Any) -> None:
        with self._lock:
            self._left -= 1
            self._error = self._error or error
            if self._left == 0:
                self._done.set()

    def wait(self, seconds: float) -> None:
        """Raises PartDownError when not every record was acknowledged in time."""
        if not self._done.wait(seconds):
            raise PartDownError("kafka", f"no acknowledgement within {seconds * 1000:.0f} ms")
        if self._error is not None:
            raise PartDownError("kafka", self._error)


class Publisher:
    """One idempotent producer with a thread that serves its acknowledgements. May be used by many threads."""

    def __init__(self, producer: Producer, names: Names, timeout_ms: int) -> None:
        self._producer, self._names, self._timeout_seconds = producer, names, timeout_ms / 1000
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="kafka-acknowledgements", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            self._producer.poll(0.2)

    def publish(self, predictions: Sequence[Prediction]) -> None:
        """Returns once every prediction and alert is safe. Raises PartDownError when Kafka does not take them."""
        records: list[tuple[str, bytes, bytes]] = []
        for prediction in predictions:
            key = prediction.event_key.encode()
            records.append((self._names.predictions(prediction.service), key, msgspec.json.encode(prediction)))
            if alert := alert_of(prediction):
                records.append((self._names.alerts(), key, msgspec.json.encode(alert)))
        delivery = _Delivery(len(records))
        try:
            for topic, key, value in records:
                self._producer.produce(topic, value, key, on_delivery=delivery)
        except (BufferError, KafkaException) as error:
            raise PartDownError("kafka", error) from error
        delivery.wait(self._timeout_seconds)

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._producer.flush(self._timeout_seconds)
