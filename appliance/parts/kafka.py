"""Kafka 4.3: one node that is broker and controller (KRaft), on loopback, no anonymous access.

One listener for clients: SCRAM-SHA-512 for everybody, and PLAIN for the administrator alone, whose password stands in
the broker's own configuration (mode 600). So the administrator and the broker itself get in whatever happens to the
SCRAM credentials in the metadata log, and no password is needed when the log is formatted.
Settings: https://kafka.apache.org/documentation/#brokerconfigs.
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException, TopicPartition

from appliance import limits, users
from appliance.clients import kafka as clients
from appliance.errors import NotReadyError, PartError
from appliance.parts import kafka_access, kafka_fence
from appliance.parts.base import BasePart, Context, Process
from appliance.parts.java import heap, java17
from appliance.ports import Port
from appliance.supervisor import write_private

_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"

_SESSION_MS = "45000"
"""A broker alone gains nothing from being fenced: a machine that stands still for some seconds must not do it. Less
than ``initial.broker.registration.timeout.ms`` (60 s)."""

LOGGING = """\
Configuration:
  status: warn
  Appenders:
    Console:
      name: STDOUT
      target: SYSTEM_OUT
      PatternLayout: {pattern: "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p [%t] %c{1}: %m%n"}
  Loggers:
    Root: {level: INFO, AppenderRef: {ref: STDOUT}}
    Logger:
      - {name: kafka.authorizer.logger, level: WARN}
      - {name: org.reflections, level: ERROR}
      - {name: org.apache.kafka.clients, level: WARN}
      - {name: org.apache.kafka.connect.runtime.rest.RestServer, level: WARN}
      - {name: org.apache.kafka.controller, level: WARN}
      - {name: org.apache.kafka.common.config.AbstractConfig, level: WARN}
"""

FENCE_LOGGING = """\
Configuration:
  status: warn
  Appenders:
    Console: {name: STDOUT, target: SYSTEM_OUT, PatternLayout: {pattern: "%d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %p %m%n"}}
  Loggers:
    Root: {level: WARN, AppenderRef: {ref: STDOUT}}
    Logger:
      - {name: org.apache.kafka.controller.ReplicationControlManager, level: INFO}
      - {name: kafka.server.ControllerApis, level: "OFF"}
"""


class Kafka(BasePart):
    """Ready when a record can be written and read back."""

    name = "kafka"
    ready_timeout_seconds = 300
    listens = Port.KAFKA

    def prepare(self, context: Context) -> None:
        folder = context.run(self.name)
        settings = self._settings(context)
        write_private(folder / "log4j2.yaml", LOGGING)
        write_private(folder / "server.properties", _properties(settings))
        write_private(folder / "fence-log4j2.yaml", FENCE_LOGGING)
        write_private(folder / "fence.properties", _properties(_controller_alone(settings)))
        if not (self._log(context) / "meta.properties").exists():
            self._format(context)

    def _log(self, context: Context) -> Path:
        return context.data(self.name) / "log"

    def _settings(self, context: Context) -> dict[str, str]:
        address, controller = clients.bootstrap(context), f"127.0.0.1:{context.port(Port.KAFKA_CONTROLLER)}"
        password, inner = (context.secrets.get(f"kafka.{name}") for name in (users.ADMINISTRATOR, "controller"))
        administrator = (
            f'username="{users.ADMINISTRATOR}" password="{password}" user_{users.ADMINISTRATOR}="{password}"'
        )
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "broker.session.timeout.ms": _SESSION_MS,
            "message.max.bytes": str(limits.RECORD_BYTES),
            "controller.quorum.bootstrap.servers": controller,
            "controller.listener.names": "CONTROLLER",
            "listeners": f"CLIENT://{address},CONTROLLER://{controller}",
            "advertised.listeners": f"CLIENT://{address}",
            "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.client.sasl.enabled.mechanisms": "SCRAM-SHA-512,PLAIN",
            "listener.name.client.scram-sha-512.sasl.jaas.config": f"{_SCRAM} required;",
            "listener.name.client.plain.sasl.jaas.config": f"{_PLAIN} required {administrator};",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config":
                f'{_PLAIN} required username="controller" password="{inner}" user_controller="{inner}";',
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": f"User:{users.ADMINISTRATOR};User:controller",
            "allow.everyone.if.no.acl.found": "false",
            "auto.create.topics.enable": "false",
            "log.dirs": str(self._log(context)),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.cleaner.dedupe.buffer.size": "16777216",
            "log.retention.hours": str(24 * context.settings.kafka.cdc_retention_days),
            "log.segment.bytes": "268435456",
        }  # fmt: skip

    def _format(self, context: Context) -> None:
        """Write the empty metadata log. A half-formatted one is taken away first: nothing is in it yet."""
        log = self._log(context)
        shutil.rmtree(log, ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        configuration = context.run(self.name) / "server.properties"
        command = (
            *self._java(context, 256, "log4j2.yaml"), "kafka.tools.StorageTool", "format", "--standalone",
            "--cluster-id", cluster, "--config", str(configuration),
        )  # fmt: skip
        ended = subprocess.run(
            command, env={"PATH": os.defpath, "LANG": "C.UTF-8"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            shutil.rmtree(log, ignore_errors=True)
            raise PartError("kafka.format", f"formatting {log} failed: {ended.stderr.strip()[-800:]}", hint="df -h")

    def _java(self, context: Context, heap_mib: int, logging: str) -> tuple[str, ...]:
        jars = context.installation.part("kafka") / "lib" / "*"
        return (
            java17(), *heap(heap_mib), "-XX:+UseParallelGC",
            f"-Dlog4j2.configurationFile={context.run(self.name) / logging}", "-cp", str(jars),
        )  # fmt: skip

    def process(self, context: Context) -> Process:
        run = context.run(self.name)
        controller = (*self._java(context, 256, "fence-log4j2.yaml"), "kafka.Kafka", str(run / "fence.properties"))
        broker = (
            *self._java(context, context.settings.memory.kafka_heap_mib, "log4j2.yaml"),
            "kafka.Kafka", str(run / "server.properties"),
        )  # fmt: skip
        return Process(
            (context.python(), "-m", kafka_fence.__name__, str(self._log(context)), "--", *controller, "--", *broker),
            directory=context.data(self.name), stop_wait_seconds=60,
        )  # fmt: skip

    def ready(self, context: Context) -> None:
        """Write a record to ``<tenant>.ready`` and read it back."""
        topic, token = f"{context.installation.tenant}.ready", uuid.uuid4().bytes
        try:
            clients.ensure_topics(context, {topic: {"partitions": "1", "retention.ms": "3600000"}})
            offset = _write(context, topic, token)
            if _read(context, topic, offset) != token:
                raise NotReadyError("kafka.not_ready", f"Kafka lost the record just written to {topic}")
        except (KafkaException, PartError) as error:
            raise NotReadyError("kafka.not_ready", f"Kafka does not take a record: {error}") from error

    def provision(self, context: Context) -> None:
        kafka_access.provision(context)
        names = context.names
        own = [names.alerts(), *(names.dead_letters(user) for user in users.OURS)]
        clients.ensure_topics(context, {name: {} for name in own})


def _properties(settings: dict[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _controller_alone(settings: dict[str, str]) -> dict[str, str]:
    """The same node as a controller only, which fences a broker that does not answer after a second."""
    listeners = settings["listeners"].split(",")
    return {key: value for key, value in settings.items() if key != "advertised.listeners"} | {
        "process.roles": "controller",
        "listeners": next(one for one in listeners if one.startswith("CONTROLLER:")),
        "broker.session.timeout.ms": "1000",
        "broker.heartbeat.interval.ms": "500",
    }


def _write(context: Context, topic: str, value: bytes) -> int:
    offsets: list[int] = []
    failures: list[str] = []

    def delivered(error: object, message: object) -> None:
        if error is None:
            offsets.append(message.offset())  # type: ignore[attr-defined]
        else:
            failures.append(str(error))

    producer = clients.producer(context, users.ADMINISTRATOR, **{"message.timeout.ms": 4000})
    producer.produce(topic, value, partition=0, on_delivery=delivered)
    producer.flush(5)
    if not offsets:
        raise NotReadyError("kafka.not_ready", f"Kafka does not take a record: {failures or 'no answer within 5 s'}")
    return offsets[0]


def _read(context: Context, topic: str, offset: int) -> bytes | None:
    consumer = clients.consumer(context, users.ADMINISTRATOR, f"{context.installation.tenant}.appliance.ready")
    try:
        consumer.assign([TopicPartition(topic, 0, offset)])
        message = consumer.poll(5)
        value = message.value() if message is not None and message.error() is None else None
        return bytes(value) if value is not None else None
    finally:
        consumer.close()
