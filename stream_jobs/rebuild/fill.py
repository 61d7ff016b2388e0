"""The edits of a view version from the lake into its edits topic, and where its Flink job must then begin.

For a version whose captured topic no longer reaches back far enough. Every change before the returned offsets is in
the topic as edits; a job that begins at those offsets adds the rest: no gap, no overlap. Fill before the job starts, so
that its first marker stands behind the edits it speaks of. Run again after a kill: edits are idempotent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec
from confluent_kafka import KafkaError, KafkaException, Producer

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild import from_lake
from stream_jobs.rebuild import held as helds
from stream_jobs.rebuild.held import Held

_FLUSH_SECONDS = 60.0
_POLL_SECONDS = 0.5


def fill_edits_topic(
    context: Context, plan: Plan, view: View, progress: Callable[[int], None] = lambda done: None
) -> Held:
    """Write every edit that the lake's newest version gives into ``view.edits_topic``, which must exist.

    Returns what that version holds: the job begins at ``next_offsets``. progress: called with the edits written so far.
    Raises LakeError, RebuildError, and KafkaException when Kafka does not take an edit.
    """
    table = from_lake.captured(plan, view)
    consumer = helds.consumer(context)
    producer = kafka.producer(
        context, users.ADMINISTRATOR, **{"partitioner": "murmur2_random", "linger.ms": 20, "batch.size": 262_144}
    )
    try:
        begin = helds.held(context, table, consumer)
    finally:
        consumer.close()
    failures: list[KafkaError] = []
    done = 0
    with from_lake.lake(context) as connection:
        changes = from_lake.changes(context, table, begin.version)
        for batch in from_lake.batches(connection, view, table, changes, "position"):
            for edit in from_lake.edits_of(view, batch):
                _produce(producer, view.edits_topic, edit.entity, msgspec.json.encode(edit), failures)
            done += batch.num_rows
            progress(done)
    left = producer.flush(_FLUSH_SECONDS)
    if failures or left:
        raise KafkaException(failures[0] if failures else KafkaError(KafkaError._TIMED_OUT, f"{left} edits not taken"))
    return begin


def startup_options(offsets: Mapping[int, int]) -> dict[str, str]:
    """The options of a Flink Kafka source that begins at these offsets."""
    listed = ";".join(f"partition:{number},offset:{offset}" for number, offset in sorted(offsets.items()))
    return {"scan.startup.mode": "specific-offsets", "scan.startup.specific-offsets": listed}


def _produce(producer: Producer, topic: str, key: str, value: bytes, failures: list[KafkaError]) -> None:
    def delivered(error: KafkaError | None, _: object) -> None:
        if error is not None:
            failures.append(error)

    while True:
        try:
            producer.produce(topic, value, key=key, on_delivery=delivered)
            producer.poll(0)
            return
        except BufferError:
            producer.poll(_POLL_SECONDS)
