"""The processes of this room, each ``python -m <module>`` in the serving environment."""

from __future__ import annotations

from appliance.parts.ours import OurProcess


class FlinkJobs(OurProcess):
    """Keeps one Flink job a view version running. A submission takes a JVM client's 10 to 30 s."""

    name = "flink-jobs"
    module = "stream_jobs.jobs"
    needs = ("kafka", "redis", "flink-jobmanager", "flink-taskmanager")
    ready_timeout_seconds = 300


class Marker(OurProcess):
    """Puts marker records into every partition of every captured topic."""

    name = "marker"
    module = "stream_jobs.marker"
    needs = ("kafka", "redis")


class Mender(OurProcess):
    """Finds lost logs of changes, and takes out of the edits what a truncate or a lost log left in them."""

    name = "mender"
    module = "stream_jobs.mending"
    needs = ("kafka", "redis")


class RedisWriter(OurProcess):
    """Edits to Redis."""

    name = "writer-redis"
    module = "stream_jobs.online.writer_redis"
    needs = ("kafka", "redis")


class HBaseWriter(OurProcess):
    """Edits to HBase."""

    name = "writer-hbase"
    module = "stream_jobs.online.writer_hbase"
    needs = ("kafka", "redis", "hbase-thrift")


class Parity(OurProcess):
    """Compares values served with those of the stores, on a schedule."""

    name = "parity"
    module = "stream_jobs.parity"
    needs = ("redis",)


class Writeback(OurProcess):
    """Predictions to the tables of business databases."""

    name = "writeback"
    module = "stream_jobs.writeback"
    needs = ("kafka", "redis")


class LakeWriter(OurProcess):
    """CDC topics to the lake's change and state tables, predictions to the ledger."""

    name = "writer-lake"
    module = "stream_jobs.lake.writer"
    needs = ("kafka", "redis")
