"""From a service's history to a served model: training set → torch → ONNX → gate → Triton → champion."""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

from appliance.clients.triton import TritonClient
from appliance.golden import Golden
from appliance.golden import write as write_golden
from appliance.parts.base import Context
from models import evaluation, events, frame, gate, process, recipe, split, thresholds
from models.evaluation import Evaluation
from models.process import Progress, Result
from models.recipe import Recipe
from models.registry import ModelVersion, Registry, Thresholds
from models.serving import Serving
from models.split import TAIL, TEST
from models.switching import Actor, Switchboard
from stream_jobs.compiler.definition import inputs_hash
from stream_jobs.plan import Plan, Service


@dataclass(frozen=True)
class Wish:
    """What a user may say of a training. Times are µs UTC, None for the latest possible; the rest as in the recipe."""

    train_from: int | None = None
    train_to: int | None = None
    gap_days: int | None = None
    test_days: int | None = None
    seed: int = 7
    device: str = "auto"
    promote: bool = True


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
    finally:
        shutil.rmtree(folder / "scratch", ignore_errors=True)
    registry.put(record)
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
    lake_versions = events.lake_versions(context, found)
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
    inputs = frame.inputs(service)
    result = process.train(context, how, inputs, folder, wish.seed, wish.device, progress)
    gate.check_equal(result.torch_onnx_difference)
    judged = _evaluate(folder, how, described.left_out)
    progress(
        f"on the later period: AUC ROC {judged.auc_roc:.4f}, average precision {judged.average_precision:.4f}, "
        f"precision among {judged.top} a day {judged.top_precision:.4f}"
    )
    golden = Golden(service.model, str(version), result.golden.rows, result.golden.scores)
    write_golden(golden, folder)
    difference = Serving.of(context).try_out(golden, folder / "model.onnx")
    progress(f"Triton is {difference:.1e} away from torch on {len(golden.rows)} golden rows")
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
        frame=described.record(result.missing_share, lake_versions),
        evaluation=judged,
        thresholds=_thresholds(folder, how, service, result),
        calibration=result.calibration,
        epochs=result.epochs,
        torch_onnx_difference=result.torch_onnx_difference,
        triton_difference=difference,
        model_sha256=hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest(),
        device=result.device,
        train_seconds=result.train_seconds,
        libraries=result.versions,
        refused=_refusal(context, how, service, inputs, folder, judged),
    )


def _days(start: int, end: int) -> str:
    """A period [start, end) in words: its first and last day."""
    first, last = (np.datetime64(time, "us").astype("datetime64[D]") for time in (start, end - 1))
    return f"{first} … {last}"


@dataclass(frozen=True)
class _Test:
    """The judged rows of a frame: x [n, k] float32, the others [n]."""

    x: npt.NDArray[np.float32]
    times: npt.NDArray[np.int64]
    subject: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


def _test(folder: Path, inputs: tuple[str, ...] = ()) -> _Test:
    table = parquet.read_table(folder / frame.FILE)
    scores = parquet.read_table(folder / "scores.parquet")["score"].to_numpy()
    test = table["part"].to_numpy() == TEST
    x = np.stack([table[name].to_numpy()[test] for name in inputs], axis=1) if inputs else np.zeros((0, 0), np.float32)
    return _Test(
        x, table["event_time"].to_numpy()[test], table["subject"].to_numpy()[test],
        table["label"].to_numpy()[test].astype(np.int64), scores[test],
    )  # fmt: skip


def _evaluate(folder: Path, how: Recipe, left_out: int) -> Evaluation:
    test = _test(folder)
    return evaluation.evaluate(test.times, test.subject, test.labels, test.scores, how.evaluation.top, left_out)


def _refusal(
    context: Context, how: Recipe, service: Service, inputs: tuple[str, ...], folder: Path, judged: Evaluation
) -> str:
    """Why the gate keeps the candidate back: the champion, asked in Triton, does better on the very same rows.

    A champion with other inputs cannot be asked; its own recorded evaluation is taken then.
    """
    registry = Registry.of(context)
    champion = registry.champion(service.model)
    if champion is None:
        return ""
    record = registry.get(service.model, champion.version)
    if record.inputs != inputs:
        return gate.refusal(how.gate, judged, record.evaluation)
    test = _test(folder, inputs)
    with TritonClient.of(context) as triton:
        scores, _ = triton.infer(service.model, test.x)
    other = evaluation.evaluate(
        test.times, test.subject, test.labels, scores, how.evaluation.top, judged.left_out
    )  # fmt: skip
    return gate.refusal(how.gate, judged, other)


def _thresholds(folder: Path, how: Recipe, service: Service, result: Result) -> Thresholds:
    table = parquet.read_table(folder / frame.FILE, columns=["label", "part"])
    labels = table["label"].to_numpy()[table["part"].to_numpy() == TAIL].astype(np.int64)
    return thresholds.suggest(
        np.asarray(result.tail_scores), labels, how.periods.tail_days,
        service.policy.daily_review_capacity, how.policy.decline_precision,
    )  # fmt: skip


def periods(record: ModelVersion) -> dict[str, str]:
    """The periods of a version in words."""
    return {
        "train": _days(record.split.train_from, record.split.train_to),
        "test": _days(record.split.test_from, record.split.test_to),
    }
