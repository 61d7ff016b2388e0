"""``python -m gateway.learner``: scores in shadow and starts the loop's rounds, until it is told to stop."""

from __future__ import annotations

import os

import redis
from confluent_kafka import KafkaException, Producer

from appliance import context as contexts
from appliance import golden, logs
from appliance.clients import kafka
from appliance.clients import redis as redis_clients
from appliance.clients.triton import TritonClient
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from gateway import quiet, topics
from gateway.errors import PartDownError
from gateway.learner.rounds import Rounds
from gateway.learner.shadow import Pair, Shadow
from gateway.life import Life
from stream_jobs.plan import Plan, Service

NAME = "learner"
_ROLES = ("challenger", "former")
_IDLE_SECONDS = 0.5
_NICE = 5
"""What serves goes first."""


def pairs(context: Context, service: Service) -> list[Pair]:
    """The versions in shadow beside the champion, as Triton's repository has them now."""
    repository = context.layout.model_repository
    champion = _version(context, service.model)
    names = [name for role in _ROLES if (repository / (name := f"{service.model}-{role}") / golden.FILE).exists()]
    found = [Pair(name, version, champion) for name in names if champion and (version := _version(context, name))]
    return [pair for pair in found if pair.version != champion]


def _version(context: Context, name: str) -> str:
    folder = context.layout.model_repository / name
    return golden.read(folder).version if (folder / golden.FILE).exists() else ""


class Shadows:
    """Every version in shadow of a plan's services."""

    def __init__(self, context: Context, plan: Plan, producer: Producer) -> None:
        self._context, self._plan, self._producer = context, plan, producer
        self._now: dict[tuple[str, Pair], Shadow] = {}

    def follow(self) -> None:
        """Begin with versions that are new in shadow, end with those that are no more."""
        wanted = {(s.name, pair): s for s in self._plan.services for pair in pairs(self._context, s)}
        for gone in self._now.keys() - wanted.keys():
            self._now.pop(gone).close()
        hours = self._context.settings.learning.lookback_hours
        names = self._context.names
        for key, service in wanted.items():
            if key not in self._now:
                pair = key[1]
                group = f"{names.tenant}.{NAME}.{pair.name}.{pair.version}.{pair.champion}"
                consumer = kafka.consumer(self._context, NAME, group, **{"queued.max.messages.kbytes": 8_192})
                self._now[key] = Shadow(names, service, pair, consumer, self._producer, hours)

    def step(self, triton: TritonClient) -> int:
        return sum(shadow.step(triton, _IDLE_SECONDS) for shadow in self._now.values())

    def close(self) -> None:
        while self._now:
            self._now.popitem()[1].close()


def main() -> None:
    log = logs.setup(NAME)
    quiet.libraries()
    os.nice(_NICE)
    context = contexts.current()
    store = redis_clients.connect(context, NAME)
    life = Life(context, NAME, store, log)
    life.obey_signals()
    rounds = Rounds(context.settings.learning.interval_minutes)
    with TritonClient.of(context) as triton:
        while life.going_on:
            plan = life.plan()
            if plan is None:
                break
            try:
                topics.ensure(context, plan)
                _shadow(context, plan, triton, rounds, life)
            except KafkaException as error:
                life.wait_after(PartDownError("kafka", error.args[0]))
            except redis.RedisError as error:
                life.wait_after(PartDownError("redis", error))
            except ApplianceError as error:
                life.wait_after(error)
    rounds.stop()


def _shadow(context: Context, plan: Plan, triton: TritonClient, rounds: Rounds, life: Life) -> None:
    """Score in shadow until told to stop, the plan changes, or a part does not answer."""
    shadows = Shadows(context, plan, kafka.producer(context, NAME, acks="all"))
    try:
        while life.going_on and not life.plan_changed():
            shadows.follow()
            scored = shadows.step(triton)
            rounds.tick()
            life.worked()
            if not scored:
                life.rest(_IDLE_SECONDS)
    finally:
        shadows.close()


if __name__ == "__main__":
    main()
