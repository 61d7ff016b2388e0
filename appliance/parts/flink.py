"""Flink's session cluster: one job manager, one task manager, both on loopback.

Configuration keys: https://nightlies.apache.org/flink/flink-docs-release-2.3/docs/deployment/config/.
Kafka's password reaches the JVMs in a JAAS file (mode 600), so that no job's SQL, plan or REST answer has it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from appliance.clients import flink
from appliance.errors import NotReadyError, PartError
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port

_LOGIN_MODULE = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"
"""The connector's own copy of Kafka's client; the plain class name is not in its jar."""

_HEARTBEAT_STALE_MS = 15_000

_OPENED = (
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-exports=jdk.compiler/com.sun.tools.javac.{name}=ALL-UNNAMED"
        for name in ("api", "file", "parser", "tree", "util")
    ),
    *(
        f"--add-opens=java.base/{name}=ALL-UNNAMED"
        for name in (
            "java.lang", "java.net", "java.io", "java.nio", "sun.nio.ch", "java.lang.reflect", "java.text", "java.time",
            "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks",
        )
    ),
)  # fmt: skip
"""What the distribution's own configuration opens for Java 17."""

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSSXXX} %-5p %c{1.} %m%n
logger.kafka.name = org.apache.flink.kafka.shaded.org.apache.kafka
logger.kafka.level = WARN
"""


def opened() -> str:
    """The flags that every JVM of Flink's needs on Java 17."""
    return " ".join(_OPENED)


def java_home() -> Path:
    """Debian's Java 17. Raises PartError when it is not installed."""
    found = sorted(Path("/usr/lib/jvm").glob("java-17-openjdk-*"))
    if not found:
        raise PartError(
            "flink.no_java", "no Java 17 below /usr/lib/jvm", hint="apt-get install openjdk-17-jre-headless"
        )
    return found[0]


def client_environment(context: Context, configuration: Path) -> dict[str, str]:
    """Environment of every program of Flink's; ``configuration`` is a folder with ``config.yaml``."""
    return {
        "FLINK_HOME": str(context.installation.part("flink")),
        "FLINK_CONF_DIR": str(configuration),
        "FLINK_LOG_DIR": str(context.layout.logs),
        "FLINK_PID_DIR": str(configuration),
        "FLINK_IDENT_STRING": context.installation.user,
        "JAVA_HOME": str(java_home()),
    }


def write_configuration(folder: Path, values: dict[str, str | int | bool]) -> None:
    """Write ``config.yaml`` (one flat key a line) and the logging configurations into ``folder``."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [f"{key}: {json.dumps(value)}\n" for key, value in sorted(values.items())]
    (folder / "config.yaml").write_text("".join(lines))
    for name in ("log4j-console.properties", "log4j.properties", "log4j-cli.properties"):
        (folder / name).write_text(_LOGGING)


def _write_login(context: Context, folder: Path) -> Path:
    path = folder / "jaas.conf"
    password = context.secrets.get("kafka.flink")
    text = f'KafkaClient {{\n  {_LOGIN_MODULE} required username="flink" password="{password}";\n}};\n'
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    return path


class _FlinkProcess(BasePart):
    """What the two processes share."""

    name: str
    script: str
    ready_timeout_seconds = 300

    def folder(self, context: Context) -> Path:
        return context.run("flink") / self.name.removeprefix("flink-")

    def configuration(self, context: Context, login: Path) -> dict[str, str | int | bool]:
        """Both processes are given the whole table: the job manager's values also rule the jobs."""
        memory, data = context.settings.memory, context.data("flink")
        return {
            "env.java.opts.all": f"{opened()} -Djava.security.auth.login.config={login}",
            "env.java.opts.taskmanager": "-XX:+UseParallelGC",
            "jobmanager.bind-host": "127.0.0.1",
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": context.port(Port.FLINK_JOBMANAGER_RPC),
            "jobmanager.memory.process.size": f"{memory.flink_jobmanager_process_mib}m",
            "jobmanager.memory.jvm-metaspace.size": "192m",
            "jobmanager.memory.jvm-overhead.min": "96m",
            "jobmanager.execution.failover-strategy": "region",
            "blob.server.port": str(context.port(Port.FLINK_BLOB)),
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": context.port(Port.FLINK_REST),
            "rest.bind-port": str(context.port(Port.FLINK_REST)),
            "web.submit.enable": False,
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.host": "127.0.0.1",
            "taskmanager.resource-id": "taskmanager",
            "taskmanager.numberOfTaskSlots": context.settings.flink.task_slots,
            "taskmanager.rpc.port": str(context.port(Port.FLINK_TASKMANAGER_RPC)),
            "taskmanager.data.port": context.port(Port.FLINK_TASKMANAGER_DATA),
            "taskmanager.memory.process.size": f"{memory.flink_taskmanager_process_mib}m",
            "taskmanager.memory.jvm-metaspace.size": "192m",
            "taskmanager.memory.managed.size": "16m",
            "taskmanager.memory.network.min": "64m",
            "taskmanager.memory.network.max": "64m",
            "parallelism.default": context.settings.flink.parallelism,
            "state.backend.type": "hashmap",
            "execution.checkpointing.dir": (data / "checkpoints").as_uri(),
            "execution.checkpointing.num-retained": 2,
            "execution.checkpointing.savepoint-dir": (data / "savepoints").as_uri(),
            "execution.checkpointing.interval": f"{context.settings.flink.checkpoint_interval_ms} ms",
            "restart-strategy.type": "exponential-delay",
            "restart-strategy.exponential-delay.initial-backoff": "1 s",
            "restart-strategy.exponential-delay.max-backoff": "10 s",
            "cluster.registration.error-delay": "1 s",
            "heartbeat.interval": 5_000,
            "heartbeat.timeout": 50_000,
            "io.tmp.dirs": str(data / "tmp"),
        }  # fmt: skip

    def ports(self, context: Context) -> dict[str, str | int | bool]:
        raise NotImplementedError

    def prepare(self, context: Context) -> None:
        folder = self.folder(context)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (context.data("flink") / "tmp").mkdir(exist_ok=True)
        login = _write_login(context, folder)
        write_configuration(folder, self.configuration(context, login) | self.ports(context))

    def process(self, context: Context) -> Process:
        script = context.installation.part("flink") / "bin" / self.script
        environment = client_environment(context, self.folder(context))
        return Process((str(script), "start-foreground"), environment, context.data("flink"))


class JobManager(_FlinkProcess):
    """Ready when it answers; it forgets its jobs when it dies, and ``flink-jobs`` gives them back."""

    name = "flink-jobmanager"
    script = "jobmanager.sh"

    def ports(self, context: Context) -> dict[str, str | int | bool]:
        return {
            "metrics.internal.query-service.port": str(context.port(Port.FLINK_QUERY_JOBMANAGER)),
        }

    def ready(self, context: Context) -> None:
        flink.call(context, "/overview")


class TaskManager(_FlinkProcess):
    """Ready when the job manager lately heard from it and it offers slots."""

    name = "flink-taskmanager"
    script = "taskmanager.sh"
    needs = ("flink-jobmanager",)

    def ports(self, context: Context) -> dict[str, str | int | bool]:
        return {
            "metrics.internal.query-service.port": str(context.port(Port.FLINK_QUERY_TASKMANAGER)),
        }

    def ready(self, context: Context) -> None:
        registered = flink.call(context, "/taskmanagers")["taskmanagers"]
        fresh = time.time() * 1000 - _HEARTBEAT_STALE_MS
        if not any(each["slotsNumber"] > 0 and each["timeSinceLastHeartbeat"] > fresh for each in registered):
            raise NotReadyError(
                "flink.no_taskmanager",
                f"the job manager has heard from no task manager with slots for {_HEARTBEAT_STALE_MS} ms "
                f"({len(registered)} registered)",
                hint="appliance logs flink-taskmanager",
            )
