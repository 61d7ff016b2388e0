"""Feast's offline store of the appliance: windowed views from the lake's change tables, other views from files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import duckdb
import msgspec
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FileSource
from feast.data_source import DataSource
from feast.feature_logging import LoggingConfig, LoggingSource
from feast.feature_view import FeatureView
from feast.infra.offline_stores.offline_store import OfflineStore, RetrievalJob, RetrievalMetadata
from feast.infra.registry.base_registry import BaseRegistry
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.repo_config import FeastConfigBaseModel, RepoConfig
from feast.utils import compute_non_entity_date_range

from appliance import context
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.errors import OfflineStoreError
from stream_jobs.lake import schema
from stream_jobs.lake.reading import Limits, connect, quote, scan, session
from stream_jobs.offline import writing
from stream_jobs.offline.frame import EVENT_TIMESTAMP, Frame, rows_of
from stream_jobs.offline.job import ApplianceRetrievalJob
from stream_jobs.offline.join import window_features
from stream_jobs.offline.plain import asof_features, rows_between, source, time_sql
from stream_jobs.offline.sums import BLOCK


class ApplianceOfflineStoreConfig(FeastConfigBaseModel):
    """memory_mib, threads: what one retrieval may use in DuckDB; beyond the memory it spills to disk."""

    type: Literal["stream_jobs.offline.store.ApplianceOfflineStore"] = "stream_jobs.offline.store.ApplianceOfflineStore"
    memory_mib: int = 1024
    threads: int = 2


@dataclass(frozen=True)
class _Asked:
    """A view of Feast's and the features asked of it; prefix: its name in references and in full feature names."""

    view: FeatureView
    features: tuple[str, ...]
    prefix: str

    @property
    def join_keys(self) -> dict[str, str]:
        """The view's key → the frame's column."""
        keys = [column.name for column in self.view.entity_columns]
        return {key: self.view.projection.join_key_map.get(key, key) for key in keys}


class ApplianceOfflineStore(OfflineStore):
    """Point-in-time joins in DuckDB over the lake. See ``frame`` for what the columns of an entity frame mean."""

    supports_filter_by_created_timestamp = True

    @staticmethod
    def get_historical_features(
        config: RepoConfig,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame | str | None,
        registry: BaseRegistry,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
        **kwargs: Any,
    ) -> RetrievalJob:
        """The frame's rows, in their order, with a column a feature. Raises OfflineStoreError.

        Without a frame (``start_date``, ``end_date`` instead): every key and time that the plain views have there.
        """
        here = context.current()
        asked = [_asked(view, feature_refs) for view in feature_views]
        if entity_df is None:
            span = compute_non_entity_date_range(feature_views, kwargs.get("start_date"), kwargs.get("end_date"))
            with _connect(here, config) as connection:
                entity_df = _every_row(connection, config, asked, *span)
        elif isinstance(entity_df, str):
            with _connect(here, config) as connection:
                entity_df = rows_of(connection, here, entity_df)
        frame = Frame(entity_df, filter_by_created_timestamp)

        def blocks() -> Iterator[pa.Table]:
            with _connect(here, config) as connection:
                streams = _streams(here, config, connection, asked, frame, filter_by_created_timestamp)
                yield from _results(frame, asked, streams, full_feature_names)

        times = frame.rows[frame.event_timestamp]
        metadata = RetrievalMetadata(
            feature_refs, [name for name in frame.names if name != frame.event_timestamp],
            min_event_timestamp=pc.min(times).as_py(), max_event_timestamp=pc.max(times).as_py(),
        )  # fmt: skip
        on_demand = OnDemandFeatureView.get_requested_odfvs(feature_refs, project, registry)
        return ApplianceRetrievalJob(blocks, str(config.repo_path), full_feature_names, on_demand, metadata)

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each key with start ≤ time ≤ end."""
        times = (timestamp_field, created_timestamp_column)
        return _pull(
            config, data_source, times, join_key_columns, feature_name_columns, start_date, end_date, latest=True
        )

    @staticmethod
    def pull_all_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None = None,
        start_date: datetime | None = None,
        end_date: datetime | None = None,
    ) -> RetrievalJob:
        """Every row with start ≤ time ≤ end."""
        times = (timestamp_field, created_timestamp_column)
        return _pull(
            config, data_source, times, join_key_columns, feature_name_columns, start_date, end_date, latest=False
        )

    @staticmethod
    def offline_write_batch(
        config: RepoConfig, feature_view: FeatureView, table: pa.Table, progress: Callable[[int], Any] | None
    ) -> None:
        """Add rows to the files of a plain view. Raises OfflineStoreError for a windowed one."""
        _refuse_change_log(config, context.current(), feature_view.batch_source)
        if not isinstance(feature_view.batch_source, FileSource):
            raise OfflineStoreError("offline.source", f"view {feature_view.name!r} has no file source to write to")
        writing.append(config, feature_view.batch_source, table)
        if progress:
            progress(table.num_rows)

    @staticmethod
    def write_logged_features(
        config: RepoConfig,
        data: pa.Table | Path,
        source: LoggingSource,
        logging_config: LoggingConfig,
        registry: BaseRegistry,
    ) -> None:
        """Add a log of served features to a folder of parquet files."""
        writing.log(config, logging_config.destination, data)


def _connect(here: Context, config: RepoConfig) -> duckdb.DuckDBPyConnection:
    limits = config.offline_store
    return connect(here.run("offline-store"), Limits(limits.memory_mib, limits.threads))


def _asked(view: FeatureView, feature_refs: Sequence[str]) -> _Asked:
    prefix: str = view.projection.name_to_use()  # type: ignore[no-untyped-call]
    features = [ref.split(":", 1)[1] for ref in feature_refs if ref.split(":", 1)[0] == prefix]
    return _Asked(view, tuple(features), prefix)


def _streams(
    here: Context,
    config: RepoConfig,
    connection: duckdb.DuckDBPyConnection,
    asked: Sequence[_Asked],
    frame: Frame,
    known_by_then: bool,
) -> list[Iterator[pa.Table]]:
    """For each view its features, a table for each block of the frame's rows. Each has a connection of its own."""
    scenario = plan.read(here.layout.plan_file) if here.layout.plan_file.exists() else plan.Plan("", (), (), ())
    windowed = scenario.wanted_views
    row_views = {name for service in scenario.services for name in service.row_views}
    streams = []
    for each in asked:
        own = session(connection.cursor())
        if each.view.name in windowed:
            view = _only(windowed[each.view.name], each.features)
            table = _table(scenario, view)
            path = here.layout.lake / here.names.lake_changes(view.source, view.table)
            rows, questions = frame.questions(view, each.join_keys, view.name in row_views, "offline_questions")
            own.register("offline_questions", rows)
            streams.append(window_features(own, view, table, scan(path, schema.changes(table)), questions))
        elif getattr(each.view, "aggregations", None):
            raise OfflineStoreError(
                "offline.no_view", f"view {each.view.name!r} has windows but is not in the plan",
                hint="appliance features apply",
            )  # fmt: skip
        else:
            stored = source(each.view.batch_source, str(config.repo_path))
            own.register("offline_questions", frame.asked(each.join_keys.values()))
            ttl_us = int(each.view.ttl.total_seconds() * 1_000_000) if each.view.ttl else 0
            streams.append(
                asof_features(
                    own, stored, each.join_keys, each.features, ttl_us, "offline_questions", known_by_then,
                    frame.rows.num_rows,
                )
            )  # fmt: skip
    return streams


def _only(view: plan.View, features: Sequence[str]) -> plan.View:
    """The view with the features asked for."""
    known = {feature.name: feature for feature in view.features}
    if unknown := [name for name in features if name not in known]:
        raise OfflineStoreError("offline.no_feature", f"view {view.name!r} has no {unknown}, only {sorted(known)}")
    return msgspec.structs.replace(view, features=tuple(known[name] for name in features))


def _table(scenario: plan.Plan, view: plan.View) -> plan.CapturedTable:
    for table in scenario.tables:
        if (table.source, table.table) == (view.source, view.table):
            return table
    raise OfflineStoreError("offline.no_table", f"the plan captures no {view.table} of {view.source}")


def _results(
    frame: Frame, asked: Sequence[_Asked], streams: Sequence[Iterator[pa.Table]], full_names: bool
) -> Iterator[pa.Table]:
    """The frame's rows with every view's features, block after block. The views work beside each other."""
    with ThreadPoolExecutor(max(len(streams), 1)) as pool:
        for start in range(0, max(frame.rows.num_rows, 1), BLOCK):
            result = frame.rows.slice(start, BLOCK)
            for each, answers in zip(asked, pool.map(next, streams), strict=True):
                for feature in each.features:
                    name = f"{each.prefix}__{feature}" if full_names else feature
                    result = result.append_column(name, answers[feature])
            yield result


def _every_row(
    connection: duckdb.DuckDBPyConnection, config: RepoConfig, asked: Sequence[_Asked], start: datetime, end: datetime
) -> pa.Table:
    """An entity frame of each key and time that the views' sources have between start and end."""
    selects = []
    for each in asked:
        if getattr(each.view, "aggregations", None):
            raise OfflineStoreError(
                "offline.frame", f"windowed view {each.view.name!r} has a value at every moment, so it needs a frame",
                hint='entity_df="SELECT … FROM changes.\"<source>.<schema>.<table>\"", with an event_timestamp column',
            )  # fmt: skip
        stored = source(each.view.batch_source, str(config.repo_path))
        keys = "".join(f"{quote(key)} AS {quote(mine)}, " for key, mine in each.join_keys.items())
        at = quote(stored.timestamp)
        selects.append(
            f"SELECT {keys}{at} AS {EVENT_TIMESTAMP} FROM {stored.relation}"
            f" WHERE {at} >= {time_sql(start)} AND {at} <= {time_sql(end)}"
        )
    return connection.sql(f"SELECT DISTINCT * FROM ({' UNION ALL BY NAME '.join(selects)})").to_arrow_table()


def _refuse_change_log(config: RepoConfig, here: Context, data_source: DataSource | None) -> None:
    """Raises OfflineStoreError when the source is a change table of the lake."""
    if not isinstance(data_source, FileSource):
        return
    path = FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=data_source.path)
    changes = here.layout.lake / here.names.lake_changes("source", "table")
    if Path(path).is_relative_to(changes.parent):
        raise OfflineStoreError(
            "offline.change_log", f"{data_source.name!r} is a log of changes: its rows are not feature values",
            hint="windowed views are computed by Flink; ask for historical features instead",
        )  # fmt: skip


def _pull(
    config: RepoConfig,
    data_source: DataSource,
    times: tuple[str, str | None],
    join_keys: list[str],
    features: list[str],
    start: datetime | None,
    end: datetime | None,
    latest: bool,
) -> RetrievalJob:
    here = context.current()
    _refuse_change_log(config, here, data_source)

    def blocks() -> Iterator[pa.Table]:
        with _connect(here, config) as connection:
            stored = source(data_source, str(config.repo_path), *times)
            yield from rows_between(connection, stored, join_keys, features, start, end, latest)

    return ApplianceRetrievalJob(blocks, str(config.repo_path))
