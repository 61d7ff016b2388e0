"""A retrieval that runs when its result is asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast.errors import SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import FileSource, SavedDatasetFileStorage
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.saved_dataset import SavedDatasetStorage

from stream_jobs.errors import OfflineStoreError


class ApplianceRetrievalJob(RetrievalJob):
    """compute: gives the rows, without the on-demand features, which Feast adds."""

    def __init__(
        self,
        compute: Callable[[], pa.Table],
        repo_path: str,
        full_feature_names: bool = False,
        on_demand_feature_views: list[OnDemandFeatureView] | None = None,
        metadata: RetrievalMetadata | None = None,
    ) -> None:
        self._compute, self._repo_path, self._full_feature_names = compute, repo_path, full_feature_names
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
        return self._compute()

    def persist(
        self, storage: SavedDatasetStorage, allow_overwrite: bool | None = False, timeout: int | None = None
    ) -> None:
        """Write the result as one parquet file. Raises SavedDatasetLocationAlreadyExists unless it may overwrite."""
        if not isinstance(storage, SavedDatasetFileStorage):
            raise OfflineStoreError(
                "offline.storage", f"results are kept as parquet files, not in a {type(storage).__name__}"
            )
        path = Path(FileSource.get_uri_for_file_path(repo_path=self._repo_path, uri=storage.file_options.uri))
        if path.exists() and not allow_overwrite:
            raise SavedDatasetLocationAlreadyExists(location=str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(self.to_arrow(timeout=timeout), path)
