"""Features of training rows, through Feast: point in time correct, from the lake."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

from appliance.parts.base import Context
from stream_jobs.feature_store import feature_store
from stream_jobs.offline.floats import float64
from stream_jobs.offline.job import ApplianceRetrievalJob
from stream_jobs.plan import Service


def from_feast(context: Context, service: Service, events: pa.Table) -> Iterator[pa.RecordBatch]:
    """The service's features of each event, as they were at its own time and position; a row an event, in order.

    events: as ``models.events.labelled`` gives them.
    """
    return of_store(feature_store(context), service, events)


def of_store(store: FeatureStore, service: Service, events: pa.Table) -> Iterator[pa.RecordBatch]:
    """The same from a store that is open. Arrow all the way: our offline store takes an Arrow table for its frame."""
    asked = store.get_feature_service(service.name)
    job = store.get_historical_features(entity_df=entity_frame(service, events), features=asked)
    assert isinstance(job, ApplianceRetrievalJob)
    yield from job.to_arrow_batches()


def entity_frame(service: Service, events: pa.Table) -> pa.Table:
    """What Feast is asked with: the row's columns, ``event_timestamp`` (UTC), ``position``.

    Decimals become float64 and times int64 µs, as on-demand views take them.
    """
    columns = {
        "event_timestamp": pc.cast(events["event_time"], pa.timestamp("us", tz="UTC")),
        "position": events["position"],
    }
    for column in service.row:
        values = events[column.name]
        if column.type == "decimal":
            values = float64(values)
        elif column.type == "timestamp_us":
            values = pc.cast(values, pa.int64())
        columns[column.name] = values
    return pa.table(columns)
