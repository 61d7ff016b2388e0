"""``python -m gateway.scorer``: scores Kafka requests and captured rows until it is told to stop."""

from __future__ import annotations

import logging
import os

import redis
from confluent_kafka import KafkaException

from appliance import context as contexts
from appliance import logs
from appliance.clients import kafka
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway import steady, topics
from gateway.errors import PartDownError
from gateway.life import Life
from gateway.names import Keys
from gateway.reader import TopicReader, committed
from gateway.scorer.intake import Intake
from gateway.scorer.process import ScoringLoop
from gateway.scorer.transactions import Transactions, bounded
from gateway.scoring.scorer import Scorer
from gateway.waterfall import Told, Waterfall
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.plan import Plan

NAME = "scorer"
_IDLE_SECONDS = 0.5
_CLOSE_SECONDS = 20
_NICE = 5
"""Where the processor is short, who waits for an answer by HTTP comes first."""


def main() -> None:
    log = logs.setup(NAME)
    context = contexts.current()
    store = redis_clients.connect(context, NAME)
    life = Life(context, NAME, store, log)
    life.obey_signals()
    os.nice(_NICE)
    steady.settle()
    with TritonClient.of(context) as model:
        while life.going_on:
            plan = life.plan()
            if plan is None:
                return
            try:
                topics.ensure(context, plan)
                _score(context, plan, store, model, life, log)
            except KafkaException as error:
                life.wait_after(PartDownError("kafka", error.args[0]))
            except ApplianceError as error:
                life.wait_after(error)


def _score(
    context: Context, plan: Plan, store: redis.Redis, model: TritonClient, life: Life, log: logging.Logger
) -> None:
    """One producer's life: ends when told to stop, when the plan changes, or with an error of Kafka.

    After an error of Kafka it is not known what was committed. A new producer with the same transactional id ends the
    old transaction, and reading goes on from the offsets that were committed with the predictions.
    """
    names, figures = context.names, Waterfall()
    told = Told(figures, store, Keys(names.tenant).waterfall(NAME))
    group = f"{names.tenant}.{NAME}"
    intake = Intake(plan, {service.name: names.requests(service.name) for service in plan.services})
    history = HBaseHistory.of(context)
    consumer = kafka.consumer(context, NAME, group, **{"fetch.wait.max.ms": 100, "queued.max.messages.kbytes": 16_384})
    try:
        loop = ScoringLoop(
            names,
            intake,
            {s.name: Scorer(context, plan, s.name, store, model, history) for s in plan.services},
            store,
            TopicReader(consumer, intake.topics, committed(consumer)),
            Transactions(context, NAME, group),
            consumer.consumer_group_metadata,
            context.settings.scoring,
            figures,
        )
        log.info("scoring %s", ", ".join(service.name for service in plan.services))
        while life.going_on and not life.plan_changed():
            try:
                scored = loop.step(_IDLE_SECONDS)
                life.worked()
                told.tell()
            except PartDownError as error:
                if error.part == "kafka":
                    raise
                life.wait_after(error)
            else:
                if scored >= 1000:
                    log.info("scored %d rows in one batch", scored)
    finally:
        with bounded(_CLOSE_SECONDS):
            consumer.close()


if __name__ == "__main__":
    main()
