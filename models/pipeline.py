"""From a service's history to a served model: training set → torch → ONNX → gate → Triton → champion."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from appliance.golden import Golden
from appliance.golden import write as write_golden
from appliance.parts.base import Context
from models import events, frame, gate, judging, process, recipe, runs, split
from models.errors import TrainingError
from models.inputs import of as inputs_of
from models.judging import Later
from models.process import Progress
from models.recipe import Recipe
from models.registry import ModelVersion, Registry
from models.serving import Serving
from models.switching import Actor, Switchboard
from stream_jobs.compiler.definition import inputs_hash
from stream_jobs.plan import Plan, Service


@dataclass(frozen=True)
class Wish:
    """What a user may say of a training. Times are µs UTC, None for the latest possible; the rest as in the recipe.

    onnx: path of a model made elsewhere, which is brought in instead of training one; "" trains.
    """

    train_from: int | None = None
    train_to: int | None = None
    gap_days: int | None = None
    test_days: int | None = None
    seed: int = 7
    device: str = "auto"
    promote: bool = True
    onnx: str = ""


def read_recipe(scenario: str) -> Recipe:
    """The recipe of an installed scenario."""
    return recipe.read(Path(__file__).parent.parent / "feature_repo" / scenario / "recipe.toml")


def train(
    context: Context, plan: Plan, service: Service, wish: Wish, source: frame.FeatureSource, progress: Progress
) -> ModelVersion:
    """Train a version of the service's model and, if the gate lets it, make it the champion. Called by the queue's job.

    Raises TrainingSetError, TrainingError, GateError (torch and ONNX differ), DeploymentError or
    TritonUnavailableError. A version that the gate refuses is returned with ``refused`` set and stays a candidate.
    """
    Serving.of(context).check_live()
    how = _recipe(plan, wish)
    registry = Registry.of(context)
    registry.remove_unfinished(service.model)
    version = registry.next_version(service.model)
    folder = registry.path(service.model, version)
    folder.mkdir(parents=True)
    try:
        record = _make(context, plan, service, how, wish, version, source, progress)
    except BaseException:
        shutil.rmtree(folder)
        raise
    registry.put(record)
    try:
        process.keep_run(context, runs.told(context, record, folder), folder)
    except TrainingError as error:  # the store of runs is a copy: a version is not lost for it
        progress(f"the run is not in the store of runs: {error.message}")
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    progress(f"version {version} of {service.model} is in the registry")
    if record.refused:
        progress(f"not promoted: {record.refused}")
    elif wish.promote:
        Switchboard(context).promote(record.model, version, Actor.by_command(context, "trained"))
        progress(f"version {version} of {service.model} is served as champion")
    return record


def _recipe(plan: Plan, wish: Wish) -> Recipe:
    how = read_recipe(plan.scenario)
    days = {name: value for name in ("gap_days", "test_days") if (value := getattr(wish, name)) is not None}
    return msgspec.structs.replace(how, periods=msgspec.structs.replace(how.periods, **days))


def _make(
    context: Context,
    plan: Plan,
    service: Service,
    how: Recipe,
    wish: Wish,
    version: int,
    source: frame.FeatureSource,
    progress: Progress,
) -> ModelVersion:
    """Everything up to the record; files lie in the version's folder."""
    folder = Registry.of(context).path(service.model, version)
    found = events.tables(plan, service, how)
    lake_versions, positions = events.lake_versions(context, found, folder / "scratch")
    last = events.last_event(context, found[0], folder / "scratch")
    periods = split.make(how.periods, wish.train_from, wish.train_to, last)
    progress(
        f"training on {_days(periods.train_from, periods.train_to)}, test {_days(periods.test_from, periods.test_to)}"
    )
    span = (periods.train_from, periods.test_to)
    rows = events.labelled(context, plan, service, how, span, folder / "scratch")
    progress(f"{rows.num_rows} events in the periods; computing their features as they were known")
    described = frame.build(context, service, how, periods, rows, source, folder / frame.FILE)
    progress(f"training set: {described.rows} rows, of them positive {described.positives}")
    inputs = inputs_of(service)
    if wish.onnx:
        result = process.adopt(context, how, inputs, folder, Path(wish.onnx), progress)
    else:
        result = process.train(context, how, inputs, folder, wish.seed, wish.device, progress)
    gate.check_equal(result.torch_onnx_difference)
    later = Later.read(folder, inputs, described.left_out)
    judged = later.judged(later.scores, how)
    progress(
        f"on the later period: AUC ROC {judged.auc_roc:.4f}, average precision {judged.average_precision:.4f}, "
        f"precision among {judged.top} a day {judged.top_precision:.4f}"
    )
    golden = Golden(service.model, str(version), result.golden.rows, result.golden.scores)
    write_golden(golden, folder)
    trial = judging.on_trial(context, golden, folder, later)
    progress(f"in Triton: {trial.held_out_difference:.1e} away, one row in p99 {trial.latency_p99_ms:.2f} ms")
    checks = judging.checks(context, how, service.model, inputs, judged, trial, later)
    return ModelVersion(
        model=service.model,
        version=version,
        service=service.name,
        created_at=time.time_ns() // 1000,
        definition_hash=service.definition_hash,
        inputs=inputs,
        inputs_hash=inputs_hash(service, plan.wanted_views),
        recipe=how,
        seed=wish.seed,
        split=periods,
        frame=described.record(result.missing_share, lake_versions, positions),
        evaluation=judged,
        thresholds=judging.suggested(folder, how, service, np.asarray(result.tail_scores)),
        calibration=result.calibration,
        epochs=result.epochs,
        torch_onnx_difference=result.torch_onnx_difference,
        triton_difference=max(trial.golden_difference, trial.held_out_difference),
        model_sha256=hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        device=result.device,
        train_seconds=result.train_seconds,
        libraries=result.versions,
        refused=gate.refusal(checks),
        origin="imported" if wish.onnx else "trained",
        baseline=later.beside(how),
        curves=result.curves,
        checks=checks,
        latency_p99_ms=trial.latency_p99_ms,
        phases=result.phases,
    )


def _days(start: int, end: int) -> str:
    """A period [start, end) in words: its first and last day."""
    first, last = (np.datetime64(time, "us").astype("datetime64[D]") for time in (start, end - 1))
    return f"{first} … {last}"


def periods(record: ModelVersion) -> dict[str, str]:
    """The periods of a version in words."""
    return {
        "train": _days(record.split.train_from, record.split.train_to),
        "test": _days(record.split.test_from, record.split.test_to),
    }
