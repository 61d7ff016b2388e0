"""Writing to the files of plain views: rows that were pushed, and logs of what was served."""

from __future__ import annotations

import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from feast import FileSource
from feast.data_format import DeltaFormat
from feast.infra.offline_stores.file_source import FileLoggingDestination
from feast.infra.offline_stores.offline_utils import get_pyarrow_schema_from_batch_source
from feast.repo_config import RepoConfig

from stream_jobs.errors import OfflineStoreError


def append(config: RepoConfig, source: FileSource, rows: pa.Table) -> None:
    """Add rows to a file source: a commit of a Delta table, or the parquet file written again.

    Raises ValueError, as Feast's own stores do, for other columns or another order than the source has.
    """
    _, names = get_pyarrow_schema_from_batch_source(config, source)
    if names != rows.column_names:
        raise ValueError(f"the rows have columns {rows.column_names}, the source has, in this order, {names}")
    path = Path(FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=source.path))
    if isinstance(source.file_format, DeltaFormat):
        stored = DeltaTable(str(path)).schema().to_pyarrow()
        write_deltalake(str(path), rows.cast(stored), mode="append")
        return
    before = pq.read_table(path)
    unfinished = path.with_name(path.name + ".new")
    pq.write_table(pa.concat_tables([before, rows.cast(before.schema)]), unfinished)
    unfinished.rename(path)


def log(config: RepoConfig, destination: object, rows: pa.Table | Path) -> None:
    """Add a log of served features to a folder of parquet files. Raises OfflineStoreError for another destination."""
    if not isinstance(destination, FileLoggingDestination):
        raise OfflineStoreError(
            "offline.logging", f"logs of served features are parquet files, not a {type(destination).__name__}"
        )
    folder = Path(FileSource.get_uri_for_file_path(repo_path=config.repo_path, uri=destination.path))
    ds.write_dataset(
        pq.read_table(rows) if isinstance(rows, Path) else rows,
        folder,
        basename_template=f"{uuid.uuid4().hex}-{{i}}.parquet",
        partitioning=destination.partition_by or None,
        partitioning_flavor="hive" if destination.partition_by else None,
        format="parquet",
        existing_data_behavior="overwrite_or_ignore",
    )
