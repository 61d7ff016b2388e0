"""``python -m models.train.runs RUN.json``: a run into MLflow's store (``models.runs`` says what is in it).

Artefacts are the version's record, model and plots. Nothing is sent to anybody: the store is a file, telemetry is off.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "GIT_PYTHON_REFRESH": "quiet"}

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

_ARTEFACTS = ("model.json", "model.onnx", "golden.json", "*.svg")


def _experiment(client: MlflowClient, name: str, artifacts: str) -> str:
    found = client.get_experiment_by_name(name)
    return found.experiment_id if found else client.create_experiment(name, artifact_location=artifacts)


def keep(run: dict[str, Any]) -> str:
    """Write a run down; its id."""
    client = MlflowClient(tracking_uri=run["store"], registry_uri=run["store"])
    at = run["created_at_ms"]
    made = client.create_run(
        _experiment(client, run["experiment"], run["artifacts"]), start_time=at, run_name=run["name"]
    ).info.run_id
    metrics = [Metric(name, float(value), at, 0) for name, value in run["metrics"].items()]
    for name, values in run["steps"].items():
        metrics += [Metric(name, float(value), at, step) for step, value in enumerate(values, 1)]
    client.log_batch(
        made, metrics=metrics, params=[Param(name, str(value)) for name, value in run["params"].items()],
        tags=[RunTag(name, str(value)) for name, value in run["tags"].items()],
    )  # fmt: skip
    for pattern in _ARTEFACTS:
        for path in sorted(Path(run["folder"]).glob(pattern)):
            client.log_artifact(made, str(path))
    client.set_terminated(made, "FINISHED")
    return str(made)


def main() -> None:
    keep(json.loads(Path(sys.argv[1]).read_text()))


if __name__ == "__main__":
    main()
