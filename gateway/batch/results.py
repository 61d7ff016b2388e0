"""The Delta tables of a batch: its results, and the rows that could not be scored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa

from appliance.clock import wall_us
from appliance.parts.base import Context
from gateway.batch.job import Summary
from gateway.batch.rows import Reject
from stream_jobs.lake import delta, schema
from stream_jobs.lake.reading import literal, quote
from stream_jobs.plan import Service

REJECTS = pa.schema(
    [
        ("number", pa.int64()),
        ("event_key", pa.string()),
        ("code", pa.string()),
        ("reason", pa.string()),
        ("row", pa.string()),
        ("rejected_at", schema.TIMESTAMP),
    ]
)
_SCORES = (
    ("number", pa.int64()),
    ("prediction_id", pa.string()),
    ("way", pa.string()),
    ("event_key", pa.string()),
    ("position", pa.string()),
    ("as_of", schema.TIMESTAMP),
    ("score", pa.float64()),
    ("decision", pa.string()),
    ("reason", pa.string()),
    ("kind", pa.string()),
    ("model", pa.string()),
    ("model_version", pa.string()),
    ("definition_hash", pa.string()),
    ("scored_at", schema.TIMESTAMP),
)


def scores_schema(service: Service) -> pa.Schema:
    """The prediction, then ``row_<column>`` of each column, then each feature: ``<view>__<feature>``, as float64."""
    row = [(f"row_{column.name}", schema.arrow_type(column)) for column in service.row]
    return pa.schema([*_SCORES, *row, *((feature_column(name), pa.float64()) for name in service.features)])


def feature_column(name: str) -> str:
    """Column of the feature "view:feature"."""
    return name.replace(":", "__")


class Table:
    """One of the two tables. Each commit holds the rows of one chunk and its number, so none is there twice."""

    def __init__(self, path: Path, columns: pa.Schema, job: str) -> None:
        self.path, self._schema, self._id = path, columns, f"batch/{job}"
        self._table = delta.create(path, columns, None)

    @property
    def next(self) -> int:
        """Number of the first chunk that is not in it."""
        return delta.reached(self._table).get(self._id, -1) + 1

    def add(self, chunk: int, rows: pa.RecordBatch) -> None:
        """One commit, unless the table has that chunk already. Raises LakeError when it cannot be written."""
        if chunk >= self.next:
            delta.append(self._table, [rows], self._schema, {self._id: chunk})


def scores(context: Context, service: Service, job: str) -> Table:
    return Table(context.layout.lake / context.names.lake_scores(job), scores_schema(service), job)


def rejects(context: Context, job: str) -> Table:
    return Table(context.layout.lake / context.names.lake_rejects(job), REJECTS, job)


def reject_rows(found: Sequence[Reject]) -> pa.RecordBatch:
    now = wall_us()
    columns = [[getattr(each, name) for each in found] for name in REJECTS.names[:-1]]
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip([*columns, [now] * len(found)], REJECTS, strict=True)],
        schema=REJECTS,
    )


def summary(scored: Table, rejected: Table) -> Summary:
    """What the two tables hold."""
    return Summary(
        scored=sum(_counted(scored, "model_version").values()),
        rejected=sum(_counted(rejected, "code").values()),
        decisions=_counted(scored, "decision"),
        versions=_counted(scored, "model_version"),
        reasons=_counted(rejected, "code"),
    )


def _counted(table: Table, column: str) -> dict[str, int]:
    files = delta.active_files(delta.open_table(table.path))
    if not files:
        return {}
    listed = ", ".join(literal(file) for file in files)
    with duckdb.connect(config={"threads": 1, "memory_limit": "256MB"}) as connection:
        rows = connection.execute(
            f"SELECT {quote(column)}, count(*) FROM read_parquet([{listed}]) GROUP BY 1 ORDER BY 1"
        )
        return dict(rows.fetchall())
