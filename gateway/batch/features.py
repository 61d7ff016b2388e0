"""Windowed features of a chunk of rows, point in time correct, through Feast's historical retrieval over the lake."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureStore

from gateway.batch import rows as batch_rows
from gateway.batch.rows import Row
from gateway.errors import BatchError
from gateway.scoring.features import REQUEST
from stream_jobs.plan import Plan, Service


def names(service: Service) -> list[str]:
    """Its windowed features, "view:feature", in the model's order."""
    return [name for name in service.features if not name.startswith(REQUEST)]


def check_versions(plan: Plan, service: Service) -> None:
    """Raises BatchError while a view is being filled: history has its new definition, the model still the old one."""
    coming = {view.name for view in plan.coming} & set(service.views)
    if coming:
        raise BatchError(
            "batch.version_coming",
            f"new versions of {sorted(coming)} are being filled, which the model of {service.name} is not for yet",
            hint="appliance features list; score again once they are served",
        )


def historical(store: FeatureStore, plan: Plan, service: Service, rows: Sequence[Row], in_hand: bool) -> pa.Table:
    """A column for each of ``names``, a row for each of ``rows``, in their order.

    in_hand: the rows are counted in the views on the scored table, in place of stored rows of their ids; False where
    they are those stored rows. ``rows`` must not be empty.
    """
    wanted = names(service)
    if not wanted:
        return pa.table({"none": pa.nulls(len(rows))})
    job = store.get_historical_features(
        entity_df=_frame(plan, service, rows, in_hand), features=wanted, full_feature_names=True
    )
    found = job.to_arrow()
    return pa.table({name: found[name.replace(":", "__")] for name in wanted})


def _frame(plan: Plan, service: Service, rows: Sequence[Row], in_hand: bool) -> pa.Table:
    """Feast's question: what the views need of each row, when, and up to which position."""
    views = [plan.view(name) for name in service.views]
    used = {key for view in views for key in view.join_keys}
    frame = {
        "event_timestamp": pa.array([row.as_of for row in rows], pa.timestamp("us", tz="UTC")),
        "position": pa.array([row.position for row in rows]),
    }
    types = {column.name: column for column in service.row}
    if in_hand and service.row_views:
        own = [plan.view(name) for name in service.row_views]
        used |= {name for view in own for name in view.row_columns}
        frame["row_in_hand"] = batch_rows.column(rows, types[own[0].row_id])
    return pa.table(frame | {name: batch_rows.column(rows, types[name]) for name in sorted(used)})


def matrix(service: Service, rows: Sequence[Row], windowed: pa.Table) -> npt.NDArray[np.float64]:
    """float64 [rows, features] in the order of the service; NaN where a value is missing or null."""
    columns = []
    for name in service.features:
        if name.startswith(REQUEST):
            values = [row.requested[name].value for row in rows]
            columns.append(np.array([np.nan if value is None else float(value) for value in values]))  # type: ignore[arg-type]
        else:
            values = pc.fill_null(pc.cast(windowed[name], pa.float64()), float("nan"))
            columns.append(values.to_numpy())
    return np.column_stack(columns)
