"""What is written down of a run in the store of runs, beside the registry's own record.

The store is MLflow's, for people and tools that know it; nothing of ours reads it, and which version serves stands in
the registry alone. Tags that begin with ``feast.`` are those of Feast's own MLflow integration.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from appliance.parts.base import Context
from models.registry import ModelVersion

_RECIPE_PARTS = ("network", "trees", "fit", "periods", "baseline", "gate")
_MEASURES = ("auc_roc", "average_precision", "top_precision", "brier")


def store(context: Context) -> str:
    """Address of the store: an SQLite file."""
    return f"sqlite:///{context.data('models') / 'runs.db'}"


def told(context: Context, record: ModelVersion, folder: Path) -> dict[str, Any]:
    """The run of a version, as ``models.train.runs`` takes it."""
    recipe = msgspec.to_builtins(record.recipe)
    params = {f"{part}.{name}": value for part in _RECIPE_PARTS for name, value in recipe[part].items()}
    judged = {name: value for name in _MEASURES if (value := getattr(record.evaluation, name)) is not None}
    if record.baseline is not None:
        judged |= {f"baseline_{name}": getattr(record.baseline.evaluation, name) for name in judged}
    steps = {
        f"network_{number}_{name}": values
        for number, curve in enumerate(record.curves, 1)
        for name, values in msgspec.to_builtins(curve).items()
    }
    tags = {
        "mlflow.user": "appliance", "appliance.version": record.version, "appliance.origin": record.origin,
        "appliance.tenant": context.names.tenant, "appliance.refused": record.refused or "no",
        "appliance.model_sha256": record.model_sha256, "appliance.frame_sha256": record.frame.sha256,
        "feast.project": context.installation.scenario, "feast.feature_service": record.service,
        "feast.feature_count": len(record.inputs),
    }  # fmt: skip
    tags |= {f"delta.version.{name}": version for name, version in record.frame.lake_versions.items()}
    tags |= {f"log.position.{name}": position for name, position in record.frame.positions.items()}
    return {
        "store": store(context), "artifacts": (context.data("models") / "runs").as_uri(), "experiment": record.model,
        "name": f"{record.model} {record.version}", "created_at_ms": record.created_at // 1000,
        "params": params | {"seed": record.seed, "epochs": list(record.epochs), "device": record.device},
        "metrics": judged | {"train_seconds": record.train_seconds, "latency_p99_ms": record.latency_p99_ms or 0.0},
        "steps": steps, "tags": tags, "folder": str(folder),
    }  # fmt: skip
