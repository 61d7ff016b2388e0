"""A view's SQL over one row in the running Flink cluster: the values of every edge case are those of Python."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from decimal import Decimal
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from appliance import users
from appliance.clients import flink, kafka
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.compiler import sql
from stream_jobs.expressions import evaluate
from stream_jobs.expressions.parsing import parse
from stream_jobs.jobs import submission, wanted
from stream_jobs.windows.values import exact
from tests.unit.stream_jobs.expressions.cases import COLUMNS, EXPRESSIONS, rows

pytestmark = pytest.mark.integration

_DECLARED = {name: "timestamp" if c.type == "timestamp_us" else c.type for name, c in COLUMNS.items()}
_KEPT = "ok IS NOT FALSE OR n = 0"


def _wire(name: str, value: Any) -> Any:
    column = COLUMNS[name]
    return f"{Decimal(value).scaleb(-column.scale):f}" if column.type == "decimal" and value is not None else value


def _edits(context: Context, topic: str, count: int, seconds: float) -> dict[int, dict[str, Any]]:
    """Row id → columns, of ``count`` edits or of those that came in the time."""
    reader = kafka.consumer(context, users.ADMINISTRATOR, f"test.{uuid.uuid4().hex}")
    reader.assign([TopicPartition(topic, 0, 0)])
    found: dict[int, dict[str, Any]] = {}
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        for message in reader.consume(1000, 0.2):
            edit = json.loads(message.value() or b"")
            found[int(edit["row_id"])] = edit["columns"]
    reader.close()
    return found


def test_flink_computes_what_python_computes(live: Context) -> None:
    name = f"expressiontest{uuid.uuid4().hex[:8]}"
    source, edits = live.names.cdc(name, "public.t"), live.names.edits(name, 1)
    kafka.ensure_topics(live, {each: {"partitions": "1"} for each in (source, edits)})
    nodes = {f"c{i}": parse(text, COLUMNS, text) for i, text in enumerate(EXPRESSIONS)}
    kept = parse(_KEPT, COLUMNS, _KEPT)
    shape = sql.ViewShape(
        group=f"{live.installation.tenant}.flink.{name}", source_topic=source, edits_topic=edits,
        dead_letter_topic=live.names.dead_letters("flink"), join_keys=("id",), row_id="id", event_time="happened",
        columns=tuple(node.result(column) for column, node in nodes.items()),
        declared=_DECLARED | {"id": "int64", "happened": "timestamp"}, derived=nodes, rows=kept,
        reads=tuple(COLUMNS.values()),
    )  # fmt: skip
    script = sql.script(shape, sql.KafkaAddress(kafka.bootstrap(live), 1))
    view = plan.View(
        name=name, version=1, source=name, table="public.t", source_topic=source, edits_topic=edits, entity="e",
        join_keys=("id",), row_id="id", event_time="happened", columns=shape.columns, features=(), sql=script,
        definition_hash="",
    )  # fmt: skip
    given = rows(300)
    producer = kafka.producer(live, users.ADMINISTRATOR)
    for number, row in enumerate(given):
        after = {column: _wire(column, value) for column, value in row.items()} | {"id": number, "happened": 5}
        origin = {"sequence": f'["{1000 + number}","{1000 + number}"]', "ts_us": 7, "snapshot": "false"}
        producer.produce(source, json.dumps({"op": "c", "after": after, "before": None, "source": origin}).encode())
    producer.flush(10)
    of_view = evaluate.function(kept)
    expected = {number: row for number, row in enumerate(given) if of_view(row) is True}
    assert 0 < len(expected) < len(given)
    job = wanted.Job(f"test.{name}", view, live.layout.data / "flink" / "checkpoints" / name)
    identity = submission.submit(live, [(job, None)])[job.name]
    try:
        found = _edits(live, edits, len(expected), 60)
        assert found.keys() == expected.keys()
        for (column, node), text in zip(nodes.items(), EXPRESSIONS, strict=True):
            function = evaluate.function(node)
            for number, row in expected.items():
                assert exact(node.result(column), found[number][column]) == function(row), (text, row)
    finally:
        flink.cancel(live, identity)
        kafka.until(lambda: flink.call(live, f"/jobs/{identity}")["state"] == "CANCELED", "the test's job to end")
        shutil.rmtree(job.checkpoints, ignore_errors=True)
        kafka.admin(live).delete_topics([source, edits])
