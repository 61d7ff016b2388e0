"""Takes what was stored under a dropped version of a view out of Redis, HBase, Kafka and Flink's checkpoints.

Every step can be repeated: whoever is killed in the middle begins again.
"""

from __future__ import annotations

import logging
import shutil
from typing import Any

from confluent_kafka import KafkaError

from appliance.clients import hbase, kafka
from appliance.names import Names
from appliance.parts.base import Context
from stream_jobs.online.redis_log import forget_version
from stream_jobs.plan import View
from stream_jobs.versions.transition import key

_LOGGER = logging.getLogger("flink-jobs")


def remove(context: Context, redis: Any, view: View) -> None:
    """No job, writer or reader may use the version any more. Raises a store's errors; then call it again."""
    names = context.names
    forget_version(redis, names, view)
    _drop_table(context, names, view)
    control = kafka.admin(context)
    for future in control.delete_topics([view.edits_topic]).values():
        kafka.result(future, f"delete topic {view.edits_topic}", ignore=KafkaError.UNKNOWN_TOPIC_OR_PART)
    for folder in (context.data("flink") / "checkpoints").glob(f"{key(view)}.*"):
        shutil.rmtree(folder)
    _LOGGER.info("removed", extra={"version": key(view)})


def _drop_table(context: Context, names: Names, view: View) -> None:
    table = names.hbase_table(view.name, view.version)
    with hbase.connect(context) as connection:
        if table.encode() in connection.tables():
            connection.delete_table(table, disable=True)
