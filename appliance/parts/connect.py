"""Kafka Connect 4.3 with Debezium: one worker, exactly-once sources, REST on loopback behind a password.

Quick recovery after a crash needs the short transaction timeout, rebalance delay and (in the broker) clean-up interval.
Settings: https://kafka.apache.org/documentation/#connectconfigs.
"""

from __future__ import annotations

from appliance import limits, users
from appliance.clients import connect as clients
from appliance.clients import kafka
from appliance.errors import NotReadyError, PartError
from appliance.parts.base import BasePart, Context, Process
from appliance.parts.java import heap, java17
from appliance.parts.kafka import LOGGING
from appliance.ports import Port
from appliance.supervisor import write_private

_BASIC_AUTH = "org.apache.kafka.connect.rest.basic.auth.extension"
_LOGIN = f"{_BASIC_AUTH}.PropertyFileLoginModule"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule"


class Connect(BasePart):
    """Ready when it answers what connectors there are, which it reads from its own Kafka topics."""

    name = "connect"
    needs = ("kafka",)
    ready_timeout_seconds = 600
    listens = Port.CONNECT

    def prepare(self, context: Context) -> None:
        folder = context.run(self.name)
        context.secrets.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / "log4j2.yaml", LOGGING)
        write_private(folder / "rest.passwd", f"{users.ADMINISTRATOR}={context.secrets.get('connect.rest')}\n")
        write_private(folder / "jaas.conf", f'KafkaConnect {{ {_LOGIN} required file="{folder / "rest.passwd"}"; }};\n')
        settings = self._settings(context)
        write_private(folder / "connect.properties", "".join(f"{key}={value}\n" for key, value in settings.items()))
        kafka.ensure_topics(context, self._topics(context))

    def _prefix(self, context: Context) -> str:
        return f"{context.installation.tenant}.connect"

    def _topics(self, context: Context) -> dict[str, dict[str, str]]:
        """Its own topics. Compacted, with one partition for the configuration, as Connect demands."""
        own = {"cleanup.policy": "compact", "retention.ms": "-1"}
        prefix = self._prefix(context)
        return {
            f"{prefix}.{name}": own | {"partitions": n}
            for name, n in (("configs", "1"), ("offsets", "5"), ("status", "3"))
        }

    def _settings(self, context: Context) -> dict[str, str]:
        prefix, port = self._prefix(context), str(context.port(Port.CONNECT))
        json_converter = "org.apache.kafka.connect.json.JsonConverter"
        login = f'{_SCRAM} required username="connect" password="{context.secrets.get("kafka.connect")}";'
        security = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": login}
        clients_security = {
            f"{of}{key}": value for of in ("", "producer.", "consumer.", "admin.") for key, value in security.items()
        }
        return {
            "bootstrap.servers": kafka.bootstrap(context),
            "group.id": prefix,
            "config.storage.topic": f"{prefix}.configs",
            "offset.storage.topic": f"{prefix}.offsets",
            "status.storage.topic": f"{prefix}.status",
            "config.storage.replication.factor": "1",
            "offset.storage.replication.factor": "1",
            "status.storage.replication.factor": "1",
            "offset.storage.partitions": "5",
            "status.storage.partitions": "3",
            "offset.flush.interval.ms": "5000",
            "key.converter": json_converter,
            "value.converter": json_converter,
            "key.converter.schemas.enable": "false",
            "value.converter.schemas.enable": "false",
            "plugin.path": str(context.installation.part("debezium") / "plugins"),
            "plugin.discovery": "service_load",
            "listeners": f"http://127.0.0.1:{port}",
            "rest.advertised.host.name": "127.0.0.1",
            "rest.advertised.port": port,
            "rest.extension.classes": f"{_BASIC_AUTH}.BasicAuthSecurityRestExtension",
            "admin.listeners": "",
            "connector.client.config.override.policy": "Allowlist",
            "connector.client.config.override.allowlist": "linger.ms,compression.type,transaction.timeout.ms",
            "config.providers": "secret",
            "config.providers.secret.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider",
            "config.providers.secret.param.allowed.paths": str(context.layout.secrets),
            "topic.creation.enable": "true",
            "exactly.once.source.support": "enabled",
            "scheduled.rebalance.max.delay.ms": "5000",
            "producer.linger.ms": "0",
            "producer.max.request.size": str(limits.RECORD_BYTES),
            "producer.compression.type": "lz4",
            "producer.transaction.timeout.ms": "10000",
            **clients_security,
        }  # fmt: skip

    def process(self, context: Context) -> Process:
        folder = context.run(self.name)
        command = (
            java17(), *heap(context.settings.memory.connect_heap_mib), "-XX:+UseParallelGC",
            f"-Dlog4j2.configurationFile={folder / 'log4j2.yaml'}",
            f"-Djava.security.auth.login.config={folder / 'jaas.conf'}",
            "-cp", str(context.installation.part("kafka") / "lib" / "*"),
            "org.apache.kafka.connect.cli.ConnectDistributed", str(folder / "connect.properties"),
        )  # fmt: skip
        return Process(command, directory=context.data(self.name), stop_wait_seconds=60)

    def ready(self, context: Context) -> None:
        """While it starts, its pages are not there: an answer that is no list counts as not ready."""
        try:
            clients.connectors(context, seconds=4)
        except PartError as error:
            raise NotReadyError("connect.not_ready", f"Connect does not list connectors: {error.message}") from error
