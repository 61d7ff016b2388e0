"""The processes of this room, each ``python -m <module>`` in the serving environment."""

from __future__ import annotations

from appliance import alive
from appliance.layout import Layout
from appliance.parts.base import BasePart, Context, Process


class _Ours(BasePart):
    """A process of ours: ready when it has lately done a real unit of work (its alive key in Redis)."""

    name: str
    module: str

    def process(self, context: Context) -> Process:
        environment = {"PYTHONPATH": str(context.layout.code), "PYTHONUNBUFFERED": "1"}
        if context.layout != Layout.system():
            environment["APPLIANCE_HOME"] = str(context.layout.code.parent)
        return Process((context.python(), "-m", self.module), environment, context.layout.run)

    def ready(self, context: Context) -> None:
        alive.check(context, self.name)


class FlinkJobs(_Ours):
    """Keeps one Flink job a view version running. A submission takes a JVM client's 10 to 30 s."""

    name = "flink-jobs"
    module = "stream_jobs.jobs"
    needs = ("kafka", "redis", "flink-jobmanager", "flink-taskmanager")
    ready_timeout_seconds = 300


class Marker(_Ours):
    """Puts marker records into every partition of every captured topic."""

    name = "marker"
    module = "stream_jobs.marker"
    needs = ("kafka", "redis")


class RedisWriter(_Ours):
    """Edits to Redis."""

    name = "writer-redis"
    module = "stream_jobs.online.writer_redis"
    needs = ("kafka", "redis")


class HBaseWriter(_Ours):
    """Edits to HBase."""

    name = "writer-hbase"
    module = "stream_jobs.online.writer_hbase"
    needs = ("kafka", "redis", "hbase-thrift")


class LakeWriter(_Ours):
    """CDC topics to the lake's change and state tables, predictions to the ledger."""

    name = "writer-lake"
    module = "stream_jobs.lake.writer"
    needs = ("kafka", "redis")
