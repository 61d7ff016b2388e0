"""A batch from its input to its tables, chunk after chunk. Killed anywhere, the next run goes on where it was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from appliance.clients.triton_repository import TritonUnavailableError
from appliance.clock import wall_us
from gateway.batch import features, job, rows
from gateway.batch.intake import NUMBER
from gateway.batch.job import Job, Summary
from gateway.batch.pace import ROWS_A_CALL, Pace
from gateway.batch.results import Table, feature_column, reject_rows, scores_schema, summary
from gateway.batch.rows import Row
from gateway.errors import BatchError
from gateway.scoring import identity, policy
from stream_jobs.lake.reading import literal
from stream_jobs.plan import Plan, Service

WAY = "batch"
_TRIES_SECONDS = 60.0
_WAIT_SECONDS = 2.0

Infer = Callable[[npt.NDArray[np.float64]], tuple[npt.NDArray[np.float32], str]]
"""Features [n, k] → scores [n] and the model version that gave them."""
Historical = Callable[[Sequence[Row]], pa.Table]
"""Rows → a column for each windowed feature (``features.names``), in the rows' order."""
Deliver = Callable[[pa.RecordBatch], None]
"""Takes a chunk of results, before they are committed; told the same chunk again after a kill."""


@dataclass(frozen=True)
class Tools:
    """What a run needs of the outside. explain: the policy's function. deliver: None where nothing is written back."""

    historical: Historical
    infer: Infer
    explain: policy.Explain
    pace: Pace
    deliver: Deliver | None = None


@dataclass(frozen=True)
class Progress:
    """done: rows of the input that are through, of ``rows``; seconds: since this run began."""

    done: int
    rows: int
    rejected: int
    seconds: float


def run(
    tenant: str,
    plan: Plan,
    service: Service,
    place: Path,
    what: Job,
    tables: tuple[Table, Table],
    tools: Tools,
    tell: Callable[[Progress], None],
) -> Summary:
    """Score what is left. tables: of results and rejects. Raises ApplianceError; said again, it goes on.

    Rejects are committed before the results of their chunk, so the results say how far the batch is.
    """
    scored, rejected = tables
    reader = rows.Reader(plan, service, what.position, what.clock)
    began = time.monotonic()
    faulty = 0
    for chunk in range(scored.next, -(-what.rows // what.chunk_rows)):
        good, bad = reader.read(_chunk(job.input_file(place), chunk, what.chunk_rows))
        results = _scored(tenant, service, what, good, tools)
        if bad:
            rejected.add(chunk, reject_rows(bad))
        if tools.deliver is not None and results.num_rows:
            tools.deliver(results)
        scored.add(chunk, results)
        faulty += len(bad)
        tell(Progress(min((chunk + 1) * what.chunk_rows, what.rows), what.rows, faulty, time.monotonic() - began))
    found = summary(scored, rejected)
    if found.scored + found.rejected != what.rows:
        raise BatchError(
            "batch.incomplete",
            f"{what.name} has {found.scored} results and {found.rejected} rejects of {what.rows} rows",
            hint=f"move {scored.path} and {rejected.path} away and score again under another name",
        )
    return found


def _chunk(path: Path, number: int, size: int) -> pa.Table:
    """The rows of a chunk of the input, in their order."""
    with duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as connection:
        return connection.sql(
            f"SELECT * FROM read_parquet({literal(str(path))}) ORDER BY {NUMBER} LIMIT {size} OFFSET {number * size}"
        ).to_arrow_table()


def _scored(tenant: str, service: Service, what: Job, good: Sequence[Row], tools: Tools) -> pa.RecordBatch:
    """The results of a chunk's good rows."""
    schema = scores_schema(service)
    if not good:
        return pa.RecordBatch.from_pylist([], schema)
    windowed = tools.historical(good)
    inputs = features.matrix(service, good, windowed)
    scores, versions = _infer(tools, inputs)
    decided = policy.uncounted(service.policy, scores)
    reasons = []
    for i, (row, one) in enumerate(zip(good, decided, strict=True)):
        kind, text = "", ""
        if one.decision != "approve":
            values = {name: windowed[name][i].as_py() for name in windowed.column_names}
            values |= {name: value.value for name, value in row.requested.items()}
            kind, text = policy.explained(service.policy, tools.explain, row.row, values, scores[i])
        reasons.append((kind, f"{text}; {one.reason}" if text else one.reason))
    now, count = wall_us(), len(good)
    columns = {
        "number": [row.number for row in good],
        "prediction_id": [_id(tenant, service, what, row) for row in good],
        "way": [WAY] * count,
        "event_key": [row.event_key for row in good],
        "position": [row.position for row in good],
        "as_of": [row.as_of for row in good],
        "score": scores,
        "decision": [one.decision for one in decided],
        "reason": [reason for _, reason in reasons],
        "kind": [kind for kind, _ in reasons],
        "model": [service.model] * count,
        "model_version": versions,
        "definition_hash": [service.definition_hash] * count,
        "scored_at": [now] * count,
    }
    arrays = {name: pa.array(values, schema.field(name).type) for name, values in columns.items()}
    arrays |= {f"row_{column.name}": rows.column(good, column) for column in service.row}
    arrays |= {
        feature_column(name): pa.array(inputs[:, i], from_pandas=True) for i, name in enumerate(service.features)
    }
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _id(tenant: str, service: Service, what: Job, row: Row) -> str:
    """The same whenever this row of this batch is scored again."""
    return identity.prediction_id(
        tenant, service.name, WAY, row.event_key, f"{what.name}/{row.number}", what.created_at
    )


def _infer(tools: Tools, inputs: npt.NDArray[np.float64]) -> tuple[list[float], list[str]]:
    """Scores and versions of all rows, in small calls. Raises TritonUnavailableError after a minute of trying."""
    scores: list[float] = []
    versions: list[str] = []
    waited = 0.0
    while len(scores) < len(inputs):
        part = inputs[len(scores) : len(scores) + ROWS_A_CALL]
        try:
            found, version = tools.pace.call(lambda part=part: tools.infer(part))  # type: ignore[misc]
        except TritonUnavailableError:
            waited += _WAIT_SECONDS
            if waited >= _TRIES_SECONDS:
                raise
            time.sleep(_WAIT_SECONDS)
            continue
        waited = 0.0
        scores += [float(score) for score in found]
        versions += [version] * len(part)
    return scores, versions
