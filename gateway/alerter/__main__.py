"""``python -m gateway.alerter``: alerts → OpenSearch, and the predictions' counts → Redis, until it is told to stop."""

from __future__ import annotations

import logging
import threading
import time

import msgspec
import redis
from confluent_kafka import KafkaException, Producer

from appliance import context as contexts
from appliance import logs
from appliance.clients import kafka, opensearch
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.clock import Clock
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from appliance.records import DeadLetter
from gateway import quiet, topics
from gateway.alerts.explainer import Explainer
from gateway.alerts.filing import Filing
from gateway.counts import Counts
from gateway.errors import PartDownError
from gateway.life import Life
from gateway.reader import TopicReader, committed, next_offsets
from stream_jobs.plan import Plan

NAME = "alerter"
_IDLE_SECONDS = 0.5
_MOST_RECORDS = 1_000
_RETENTION_SECONDS = 3_600.0


def main() -> None:
    log = logs.setup(NAME)
    quiet.libraries()
    context = contexts.current()
    store = redis_clients.connect(context, NAME)
    life = Life(context, NAME, store, log)
    life.obey_signals()
    while life.going_on:
        plan = life.plan()
        if plan is None:
            return
        try:
            topics.ensure(context, plan)
            _file(context, plan, store, life, log)
        except KafkaException as error:
            life.wait_after(PartDownError("kafka", error.args[0]))
        except ApplianceError as error:
            life.wait_after(error)


def _file(context: Context, plan: Plan, store: redis.Redis, life: Life, log: logging.Logger) -> None:
    """File alerts until told to stop or the plan changes, and count predictions in a thread beside it."""
    names = context.names
    group = f"{names.tenant}.{NAME}"
    model = TritonClient.of(context)
    filing = Filing(opensearch.connect(context, NAME), names, plan, Explainer.of(context, plan, model).explain)
    filing.prepare()
    clock = Clock(store, names.redis_clock())
    producer = kafka.producer(context, NAME, acks="all")
    consumer = kafka.consumer(context, NAME, group)
    reader = TopicReader(consumer, [names.alerts()], committed(consumer))
    counting = Counting(context, plan, store, log)
    counting.start()
    looked_at = float("-inf")
    try:
        while life.going_on and not life.plan_changed():
            messages = reader.poll(_MOST_RECORDS, _IDLE_SECONDS)
            while messages and life.going_on:
                try:
                    letters = filing.file(messages)
                    _bury(producer, names.dead_letters(NAME), letters)
                    if letters:
                        log.warning("buried %d alerts, the first: %s", len(letters), letters[0].message[:500])
                    break
                except PartDownError as error:
                    life.wait_after(error)
            else:
                messages = []
            if messages:
                consumer.commit(offsets=next_offsets(messages), asynchronous=False)
            if time.monotonic() - looked_at > _RETENTION_SECONDS:
                looked_at = time.monotonic()
                for gone in filing.delete_expired(context.settings.alerts.retention_days, clock.now_us()):
                    log.info("deleted %s: older than %d days", gone, context.settings.alerts.retention_days)
            life.worked()
    except redis.RedisError as error:
        raise PartDownError("redis", error) from error
    finally:
        counting.close()
        consumer.close()
        model.close()


def _bury(producer: Producer, topic: str, letters: list[DeadLetter]) -> None:
    """Returns once every letter is acknowledged. Raises PartDownError when Kafka does not take them."""
    for letter in letters:
        producer.produce(topic, msgspec.json.encode(letter))
    if letters and producer.flush(10):
        raise PartDownError("kafka", f"{topic} does not take dead letters")


class Counting:
    """Counts the predictions of a plan's services in a thread of its own."""

    def __init__(self, context: Context, plan: Plan, store: redis.Redis, log: logging.Logger) -> None:
        self._context, self._plan, self._log = context, plan, log
        days = context.settings.alerts.retention_days
        self._counts = Counts.of(store, context.installation.tenant, plan, days)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="counting")

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._count()
            except (KafkaException, ApplianceError) as error:
                self._log.warning("counting waits 2 s: %s", error)
                self._stop.wait(2)

    def _count(self) -> None:
        """Counts until told to stop. After an error reading begins again where the counts say."""
        names = self._context.names
        consumer = kafka.consumer(self._context, NAME, f"{names.tenant}.{NAME}.counts")
        reader = TopicReader(
            consumer, [names.predictions(service.name) for service in self._plan.services], self._counts.start()
        )
        try:
            while not self._stop.is_set():
                self._counts.add(reader.poll(_MOST_RECORDS, _IDLE_SECONDS))
        finally:
            consumer.close()


if __name__ == "__main__":
    main()
