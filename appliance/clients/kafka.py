"""Connections to Kafka, and the topics every reader and writer counts on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType

from appliance import limits, users
from appliance.errors import PartError
from appliance.parts.base import Context
from appliance.ports import Port

_LOGGER = logging.getLogger("librdkafka")
_LOGGER.addHandler(logging.NullHandler())
"""Silent in commands; in our processes ``appliance.logs`` prints what reaches it."""

_DAY_MS = 86_400_000
_SECONDS = 20
_KEPT_DAYS = 45
"""Of predictions, alerts, requests, feedback and dead letters; the lake's ledger is the permanent record."""


def bootstrap(context: Context) -> str:
    return f"127.0.0.1:{context.port(Port.KAFKA)}"


def client(context: Context, user: str, **overrides: Any) -> dict[str, Any]:
    """librdkafka's configuration for a user (docs/architecture.md lists them). It holds the password."""
    return {
        "bootstrap.servers": bootstrap(context),
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN" if user == users.ADMINISTRATOR else "SCRAM-SHA-512",
        "sasl.username": user,
        "sasl.password": context.secrets.get(f"kafka.{user}"),
        "client.id": user,
        "logger": _LOGGER,
        "reconnect.backoff.max.ms": 2000,
        **overrides,
    }


def producer(context: Context, user: str, **overrides: Any) -> Producer:
    """An idempotent producer; with ``transactional.id`` (prefix ``<tenant>.<user>``) a transactional one."""
    settings = {
        "enable.idempotence": True,
        "linger.ms": 2,
        "compression.type": "lz4",
        "message.max.bytes": limits.DEAD_LETTER_BYTES,
    }
    return Producer(client(context, user, **(settings | overrides)))


def consumer(context: Context, user: str, group: str, **overrides: Any) -> Consumer:
    """A consumer of committed records that commits only when told; ``group`` starts with ``<tenant>.<user>``."""
    settings = {
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": 10_000,
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    return Consumer(client(context, user, **(settings | overrides)))


def from_end(context: Context, user: str, group: str, topic: str) -> Consumer:
    """A consumer of the records that come to a topic after this call, and of no earlier one."""
    made = consumer(context, user, group)
    partitions = made.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
    ends = [TopicPartition(topic, partition) for partition in partitions]
    for end in ends:
        _, end.offset = made.get_watermark_offsets(end, timeout=_SECONDS)
    made.assign(ends)
    return made


def admin(context: Context, **overrides: Any) -> AdminClient:
    """The administrator's client."""
    return AdminClient(client(context, users.ADMINISTRATOR, **overrides))


def topic_config(context: Context, topic: str) -> dict[str, str]:
    """What a topic of that name is given, from its kind (the word after the tenant).

    CDC and edits topics keep ``cdc_retention_days``, all others 45 days. Nothing is compacted: they are logs of
    changes, and the newest record of a key does not stand for the older ones.
    """
    kind = topic.removeprefix(f"{context.installation.tenant}.").partition(".")[0]
    days = context.settings.kafka.cdc_retention_days if kind in ("cdc", "edits") else _KEPT_DAYS
    most = limits.DEAD_LETTER_BYTES if kind == "dead-letters" else limits.RECORD_BYTES
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(days * _DAY_MS),
        "retention.bytes": "-1",
        "max.message.bytes": str(most),
    }


def ensure_topics(context: Context, topics: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Create the topics that do not exist and give every one its configuration; returns those created.

    topics: name → what differs from ``topic_config`` (Kafka's topic settings; ``partitions`` for their number, which is
    never changed later, by default ``kafka.partitions``). Returns when the broker knows them all. Raises PartError.
    """
    control = admin(context)
    existing = control.list_topics(timeout=_SECONDS).topics
    wanted = {name: topic_config(context, name) | dict(own) for name, own in topics.items()}
    new = []
    for name, config in wanted.items():
        partitions = int(config.pop("partitions", context.settings.kafka.partitions))
        if name not in existing:
            new.append(NewTopic(name, num_partitions=partitions, replication_factor=1, config=config))
    if new:
        for future in control.create_topics(new, request_timeout=_SECONDS).values():
            result(future, "create topics", ignore=KafkaError.TOPIC_ALREADY_EXISTS)
    created = [topic.topic for topic in new]
    _correct(control, {name: config for name, config in wanted.items() if name not in created})
    until(lambda: wanted.keys() <= control.list_topics(timeout=_SECONDS).topics.keys(), "the new topics to be known")
    return created


def _correct(control: AdminClient, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Give existing topics the configuration they should have, where it differs."""
    if not wanted:
        return
    asked = control.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in wanted])
    changes = []
    for resource, future in asked.items():
        now = {key: entry.value for key, entry in result(future, f"describe topic {resource.name}").items()}
        config = wanted[resource.name]
        if any(now.get(key) != value for key, value in config.items()):
            changes.append(ConfigResource(ResourceType.TOPIC, resource.name, set_config=dict(config)))
    if changes:
        for resource, future in control.alter_configs(changes).items():
            result(future, f"configure topic {resource.name}")


def result(future: Future[Any], doing: str, ignore: int | None = None) -> Any:
    """An administrator's answer. Raises PartError saying what was refused; the code ``ignore`` counts as done."""
    try:
        return future.result(_SECONDS)
    except KafkaException as error:
        if ignore is not None and error.args[0].code() == ignore:
            return None
        raise PartError(
            "kafka.refused", f"Kafka refused to {doing}: {error.args[0]}", hint="appliance logs kafka"
        ) from error


def until(condition: Callable[[], bool], what: str, seconds: float = _SECONDS) -> None:
    """Kafka applies changes some time after it has accepted them: poll. Raises PartError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise PartError("kafka.slow", f"waited {seconds:.0f} s for {what}", hint="appliance logs kafka")
        time.sleep(0.05)
