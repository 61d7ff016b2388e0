"""The queue's job ``update``: an updated candidate of a service's model, through the gate and into shadow."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as parquet

from appliance.clients.triton import TritonClient
from appliance.golden import Golden
from appliance.golden import write as write_golden
from appliance.parts.base import Context
from models import gate, judging, pipeline, thresholds
from models.errors import RegistryError, TrainingSetError
from models.inputs import of as inputs_of
from models.judging import Later
from models.learning import candidate, rows
from models.process import Progress
from models.recipe import Recipe
from models.registry import Frame, ModelVersion, Registry, Thresholds
from models.split import FIT, TAIL, TEST, Split
from models.switching import LEARNER, Actor, Switchboard
from stream_jobs.plan import Plan, Service

_PARTS = {FIT: "fit", TAIL: "tail", TEST: "test"}


def comparable(registry: Registry, record: ModelVersion) -> list[str]:
    """Versions whose inputs mean what this one's mean: rows they were served with fit it."""
    versions = registry.versions(record.model)
    return [str(each.version) for each in versions if each.inputs_hash == record.inputs_hash]


def update(context: Context, plan: Plan, service_name: str, cutoff: int, progress: Progress) -> ModelVersion:
    """Update the champion with the labels known up to ``cutoff`` (µs UTC); what the gate lets through goes into shadow.

    Raises RegistryError without a champion that can be updated, TrainingSetError without new rows of both classes,
    TrainingError, GateError or DeploymentError.
    """
    service = plan.service(service_name)
    recipe = pipeline.read_recipe(plan.scenario)
    registry = Registry.of(context)
    champion = _champion(registry, service)
    registry.remove_unfinished(service.model)
    version = registry.next_version(service.model)
    folder = registry.path(service.model, version)
    folder.mkdir(parents=True)
    try:
        record = _make(context, plan, service, recipe, champion, version, cutoff, progress)
    except BaseException:
        shutil.rmtree(folder)
        raise
    finally:
        shutil.rmtree(folder / "scratch", ignore_errors=True)
    registry.put(record)
    progress(f"version {version} of {service.model} is in the registry")
    if record.refused:
        progress(f"not put into shadow: {record.refused}")
    else:
        actor = Actor.now(context, LEARNER, f"updated from version {champion.version}")
        Switchboard(context).challenge(service.model, version, cutoff, actor, goes_on=True)
        progress(f"version {version} of {service.model} runs in shadow")
    return record


def _champion(registry: Registry, service: Service) -> ModelVersion:
    pointer = registry.champion(service.model)
    if pointer is None:
        raise RegistryError("model.unknown", f"{service.model} has no champion", hint="appliance model train")
    record = registry.get(service.model, pointer.version)
    if not (registry.path(record.model, record.version) / "weights.npz").exists():
        raise RegistryError(
            "model.no_weights",
            f"version {record.version} of {record.model} has no weights stored: it cannot be updated",
            hint=f"appliance model train {service.name}",
        )
    return record


def _make(
    context: Context,
    plan: Plan,
    service: Service,
    recipe: Recipe,
    champion: ModelVersion,
    version: int,
    cutoff: int,
    progress: Progress,
) -> ModelVersion:
    """Everything up to the record; files lie in the version's folder."""
    registry = Registry.of(context)
    folder, parent = (registry.path(service.model, one) for one in (version, champion.version))
    inputs = inputs_of(service)
    with rows.opened(context, plan, service, recipe, folder / "scratch") as labelled:
        new = labelled.rows(champion.learned_until, cutoff, comparable(registry, champion))
    positives = int(new["label"].to_numpy().sum())
    if champion.inputs != inputs or not 0 < positives < new.num_rows:
        raise TrainingSetError(
            "learning.no_rows",
            f"{new.num_rows} rows with a new label, {positives} of them positive, for a champion with inputs "
            f"{list(champion.inputs)}; both classes and the service's own inputs are needed",
            hint=f"appliance model train {service.name}",
        )
    with TritonClient.of(context) as triton:

        def ask(x: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
            return triton.infer(service.model, x)[0]

        made = candidate.make(
            context, recipe, inputs, candidate.Parent(parent, champion.parent > 0), new, folder, version, ask, progress
        )
    frame = parquet.read_table(folder / "frame.parquet", columns=["label", "part", "event_time"])
    golden = Golden(service.model, str(version), made.result.golden.rows, made.result.golden.scores)
    write_golden(golden, folder)
    trial = judging.on_trial(context, golden, folder, Later.read(folder, inputs, left_out=0))
    checks = (*gate.in_triton(recipe.gate, trial), made.check)
    return ModelVersion(
        model=service.model,
        version=version,
        service=service.name,
        created_at=time.time_ns() // 1000,
        definition_hash=service.definition_hash,
        inputs=inputs,
        inputs_hash=champion.inputs_hash,
        recipe=recipe,
        seed=version,
        split=_split(frame),
        frame=_described(frame, folder, made.result.missing_share),
        evaluation=made.evaluation,
        thresholds=_thresholds(frame, made.result.tail_scores, recipe, service, champion.thresholds.tail_rows_per_day),
        calibration=made.result.calibration,
        epochs=made.result.epochs,
        torch_onnx_difference=made.result.torch_onnx_difference,
        triton_difference=max(trial.golden_difference, trial.held_out_difference),
        model_sha256=hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        device=made.result.device,
        train_seconds=made.result.train_seconds,
        libraries=made.result.versions,
        refused=gate.refusal(checks),
        checks=checks,
        latency_p99_ms=trial.latency_p99_ms,
        phases=made.result.phases,
        parent=champion.version,
        labels_until=cutoff,
    )


def _split(frame: pa.Table) -> Split:
    """Parts of an update lie beside one another in time; the periods say from when to when each reaches."""
    time, part = frame["event_time"].to_numpy(), frame["part"].to_numpy()
    tail, test = (time[part == one] for one in (TAIL, TEST))
    end = int(time.max()) + 1
    return Split(int(time.min()), int(tail.min()), end, int(test.min()), int(test.max()) + 1)


def _described(frame: pa.Table, folder: Path, missing_share: dict[str, float]) -> Frame:
    label, part = frame["label"].to_numpy(), frame["part"].to_numpy()
    return Frame(
        hashlib.sha256((folder / "frame.parquet").read_bytes()).hexdigest(),
        {name: int((part == one).sum()) for one, name in _PARTS.items()},
        {name: int(label[part == one].sum()) for one, name in _PARTS.items()},
        0,
        missing_share,
        {},
    )


def _thresholds(
    frame: pa.Table, tail_scores: list[float], recipe: Recipe, service: Service, rows_per_day: float
) -> Thresholds:
    """The tail is a sample of many days: as many days of traffic as it has rows for."""
    labels = frame["label"].to_numpy()[frame["part"].to_numpy() == TAIL].astype(np.int64)
    return thresholds.suggest(
        np.asarray(tail_scores), labels, len(labels) / rows_per_day,
        service.policy.daily_review_capacity, recipe.policy.decline_precision,
    )  # fmt: skip
