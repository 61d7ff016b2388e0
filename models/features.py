"""Features of training rows, through Feast: point in time correct, from the lake."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from appliance.parts.base import Context
from stream_jobs.feature_store import feature_store
from stream_jobs.offline.floats import float64
from stream_jobs.plan import Service


def from_feast(context: Context, service: Service, events: pa.Table) -> pa.Table:
    """The service's features of each event, as they were at its own time and position; a row an event, in order.

    events: as ``models.events.labelled`` gives them.
    """
    store = feature_store(context)
    entities = entity_frame(service, events).to_pandas()
    job = store.get_historical_features(entity_df=entities, features=store.get_feature_service(service.name))
    return in_order(job.to_arrow())


def entity_frame(service: Service, events: pa.Table) -> pa.Table:
    """What Feast is asked with: the row's columns, ``event_timestamp`` (UTC), ``position``, ``row_number``.

    Decimals become float64 and times int64 µs, as on-demand views take them.
    """
    columns = {
        "row_number": pa.array(range(events.num_rows), pa.int64()),
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


def in_order(features: pa.Table) -> pa.Table:
    """The rows in the order they were asked in."""
    return features.sort_by("row_number")
