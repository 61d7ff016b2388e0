"""Debezium's records of a small table, as they stand in Kafka."""

from __future__ import annotations

import json
from typing import Any

from stream_jobs.lake.records import Raw
from stream_jobs.plan import CapturedTable, Column

TABLE = CapturedTable(
    "bank", "public.accounts", "main.cdc.bank.public.accounts", ("id",),
    (
        Column("id", "int64"), Column("opened", "timestamp_us"), Column("balance", "decimal", 2),
        Column("name", "string"), Column("closed", "bool"), Column("rate", "float64"),
    ),
    "opened", True,
)  # fmt: skip
COMMITTED_US = 1_763_900_000_000_000


def row(key: int, **values: Any) -> dict[str, Any]:
    return {
        "id": key, "opened": "2018-04-01T00:00:31.5Z", "balance": "10.25", "name": "zoë", "closed": None, "rate": 0.5
    } | values  # fmt: skip


def change(
    op: str, offset: int, after: dict[str, Any] | None = None, before: dict[str, Any] | None = None, **source: Any
) -> Raw:
    """The record at ``offset``, committed ``offset`` µs after COMMITTED_US at a position that grows with it."""
    block = {"sequence": f'["{1000 + offset}","{2000 + offset}"]', "ts_us": COMMITTED_US + offset} | source
    text = json.dumps({"op": op, "before": before, "after": after, "source": block, "ts_ms": 1})
    return Raw(TABLE.topic, 0, offset, text.encode())
