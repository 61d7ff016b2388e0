"""A retrieval that runs when its result is asked for, block after block of rows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import write_deltalake
from feast.data_format import DeltaFormat
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from stream_jobs.errors import OfflineStoreError

Blocks = Callable[[], Iterator[pa.Table]]


class ApplianceRetrievalJob(RetrievalJob):
    """blocks: gives the rows in their order, at least one table, without the on-demand features, which Feast adds.

    ``to_arrow_batches`` and ``persist`` hold one block at a time; ``to_arrow`` and ``to_df`` hold the whole result.
    """

    def __init__(
        self,
        blocks: Blocks,
        repo_path: str,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._blocks, self._repo_path, self._full_feature_names = blocks, repo_path, full_feature_names
        self._on_demand_feature_views, self._metadata = on_demand_feature_views or [], metadata

    @property
    def full_feature_names(self) -> bool:
        return self._full_feature_names

    @property
    def on_demand_feature_views(self) -> list[OnDemandFeatureView]:
        return self._on_demand_feature_views

    @property
    def metadata(self) -> RetrievalMetadata | None:
        return self._metadata

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        frame: pd.DataFrame = self._to_arrow_internal(timeout).to_pandas()
        return frame

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return pa.concat_tables(self._blocks())

    def to_arrow_batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in their order, with the on-demand features, as record batches of one schema."""
        for block in self._complete_blocks():
            yield from block.to_batches()

    def _complete_blocks(self) -> Iterator[pa.Table]:
        """Blocks to which Feast has added the on-demand features, each as if it were a result of its own."""
        schema: pa.Schema | None = None
        for block in self._blocks():
            alone = ApplianceRetrievalJob(
                lambda block=block: iter([block]), self._repo_path, self._full_feature_names,  # type: ignore[misc]
                self._on_demand_feature_views, self._metadata,
            )  # fmt: skip
            table = alone.to_arrow()
            schema = schema or table.schema
            yield table.cast(schema)

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        """Write the result as one parquet file, in a folder that is there as the only one, or as a Delta table.

        Raises SavedDatasetLocationAlreadyExists unless it may overwrite.
        """
        if not isinstance(storage, SavedDatasetFileStorage):
            raise OfflineStoreError(
                "offline.storage", f"results are kept as parquet files, not in a {type(storage).__name__}"
            )
        path = Path(FileSource.get_uri_for_file_path(repo_path=self._repo_path, uri=storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        if isinstance(storage.file_options.file_format, DeltaFormat):
            blocks = self._complete_blocks()
            first = next(blocks)
            rows = (batch for block in itertools.chain([first], blocks) for batch in block.to_batches())
            reader = pa.RecordBatchReader.from_batches(first.schema, rows)
            write_deltalake(str(path), reader, mode="overwrite", schema_mode="overwrite")
            return
        old = [*path.glob("*.parquet")] if path.is_dir() else []
        path = path / "rows.parquet" if path.is_dir() else path
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".new")
        writer: pq.ParquetWriter | None = None
        try:
            for block in self._complete_blocks():
                writer = writer or pq.ParquetWriter(unfinished, block.schema)
                writer.write_table(block)
        finally:
            if writer is not None:
                writer.close()
        unfinished.rename(path)
        for other in set(old) - {path}:
            other.unlink()
