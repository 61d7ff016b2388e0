"""Feast's local compute engine, which materializes plain views, with windowed views refused for our reason."""

from __future__ import annotations

from typing import Any, Literal

from feast.infra.common.materialization_job import MaterializationTask
from feast.infra.compute_engines.local.compute import LocalComputeEngine, LocalComputeEngineConfig
from feast.infra.compute_engines.local.job import LocalMaterializationJob
from feast.infra.registry.base_registry import BaseRegistry

from stream_jobs.online.feast_store import refuse_windowed


class ApplianceComputeEngineConfig(LocalComputeEngineConfig):
    """Nothing to set."""

    type: Literal["stream_jobs.offline.engine.ApplianceComputeEngine"] = (
        "stream_jobs.offline.engine.ApplianceComputeEngine"  # type: ignore[assignment]
    )


class ApplianceComputeEngine(LocalComputeEngine):
    """``feast materialize`` of plain views. Raises OnlineStoreError for a windowed one."""

    def _materialize_one(
        self, registry: BaseRegistry, task: MaterializationTask, **kwargs: Any
    ) -> LocalMaterializationJob:
        refuse_windowed(task.feature_view)
        return super()._materialize_one(registry, task, **kwargs)
