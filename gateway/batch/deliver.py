"""Results of a batch into the table of the business database that takes the service's predictions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pyarrow as pa

from appliance.parts.base import Context
from gateway.errors import BatchError
from stream_jobs.plan import Service
from stream_jobs.writeback import postgres, record, table

_ROWS = 500
"""In one transaction of the business database."""


@contextmanager
def delivery(context: Context, service: Service) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """What writes a chunk of results; said twice it changes nothing. Raises WritebackError without a connection.

    The function raises BatchError when the table does not take a row.
    """
    target = record.registered(context, service.name)
    with postgres.connect(context, target) as connection:

        def deliver(results: pa.RecordBatch) -> None:
            columns = [results[name].to_pylist() for name in table.COLUMNS]
            rows = list(zip(*columns, strict=True))
            for start in range(0, len(rows), _ROWS):
                try:
                    refused = table.write(connection, target, rows[start : start + _ROWS])
                except psycopg.Error as error:
                    raise _failed(target, str(error).strip()) from error
                if refused:
                    place, why = refused[0]
                    raise _failed(target, f"event {rows[start + place][0]}: {str(why).strip()}")

        yield deliver


def _failed(target: record.Target, why: str) -> BatchError:
    return BatchError(
        "batch.write_back", f"{target.table} does not take the results: {why}",
        hint=f"appliance writeback check {target.service}; then the same command again goes on",
    )  # fmt: skip
