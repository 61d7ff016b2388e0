"""Records of a source that could not be used lately, from the dead letters of their readers."""

from __future__ import annotations

import time
from collections import Counter

import msgspec
from confluent_kafka import Consumer, TopicPartition

from appliance import users
from appliance.clients import kafka
from appliance.parts.base import Context
from appliance.records import DeadLetter
from stream_jobs.source.check import Check
from stream_jobs.source.record import Source

READERS = ("flink", "writer-lake", "scorer")
_HOURS = 24
_AT_MOST = 20_000
_SECONDS = 10


def check(context: Context, source: Source) -> Check:
    """How many there were in the last day, by reader and code."""
    group = f"{context.installation.tenant}.{users.ADMINISTRATOR}.unusable"
    consumer = kafka.consumer(context, users.ADMINISTRATOR, group)
    found: Counter[str] = Counter()
    try:
        for reader in READERS:
            found += _count(context, consumer, source, reader)
    finally:
        consumer.close()
    shown = ", ".join(f"{number} of {what}" for what, number in found.most_common(5))
    topics = ", ".join(sorted({context.names.dead_letters(what.split(" ")[0]) for what in found}))
    return Check(
        f"records of the last {_HOURS} h that could not be used", not found, shown or "none",
        f"look at topic {topics}: each record there says why (stream_jobs/README.md has the codes)" if found else "",
    )  # fmt: skip


def _count(context: Context, consumer: Consumer, source: Source, reader: str) -> Counter[str]:
    topic, prefix = context.names.dead_letters(reader), f"{context.names.cdc_prefix(source.name)}."
    since = round((time.time() - _HOURS * 3600) * 1000)
    found: Counter[str] = Counter()
    for number in consumer.list_topics(topic, timeout=_SECONDS).topics[topic].partitions:
        _, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=_SECONDS)
        (start,) = consumer.offsets_for_times([TopicPartition(topic, number, since)], timeout=_SECONDS)
        if start.offset < 0 or start.offset >= high:
            continue
        consumer.assign([TopicPartition(topic, number, max(start.offset, high - _AT_MOST))])
        while batch := consumer.consume(1000, 1.0):
            for message in batch:
                if message.error() or message.value() is None:
                    continue
                letter = msgspec.json.decode(message.value() or b"", type=DeadLetter)
                if letter.topic.startswith(prefix):
                    found[f"{reader} {letter.code}"] += 1
    return found
