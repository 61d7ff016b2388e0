"""A service's last predictions, out of the ledger, against the training set of the model version that serves."""

from __future__ import annotations

import math
from pathlib import Path

import duckdb
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow.parquet as parquet

from appliance import notices
from appliance.clock import wall_us
from appliance.parts.base import Context
from appliance.records import FeatureValue
from appliance.settings import Drift as Limits
from models import events
from models.drift import kept, measure
from models.drift.kept import Drift, FeatureDrift, LabelDelay
from models.errors import RegistryError
from models.frame import FILE
from models.pipeline import read_recipe
from models.registry import ModelVersion, Registry
from models.split import TEST
from stream_jobs.lake import reading, schema
from stream_jobs.lake.reading import literal, quote
from stream_jobs.plan import Plan, Service

Matrix = npt.NDArray[np.float32]

_HOUR_US = 3_600_000_000
_LIMITS = reading.Limits(memory_mib=384, threads=1)
_BATCH_ROWS = 5_000
_COVERED = 0.9
"""Of the window must have predictions: a day says nothing of how a week is distributed, for weekends differ."""
_OUTLIERS = 0.001
"""Share of predictions whose times may be anything (a clock that is wrong); the window ends before them."""
_LABEL_DAYS = 30
_FEATURES = msgspec.json.Decoder(dict[str, FeatureValue])
_SCORES = "scores.parquet"


def compare(context: Context, plan: Plan, service: Service) -> Drift:
    """Measure, keep the result, post a notice or take it back. Raises LakeError, RegistryError, OSError."""
    found = measured(context, plan, service)
    kept.write(context, found)
    name = f"drift-{service.name}"
    if found.findings:
        more = f" and {len(found.findings) - 2} more" if len(found.findings) > 2 else ""
        told = f"{service.name} is no longer served what its model learned from: {'; '.join(found.findings[:2])}{more}"
        notices.post(context.layout, name, told, hint=f"appliance drift {service.name}")
    else:
        notices.take_back(context.layout, name)
    return found


def measured(context: Context, plan: Plan, service: Service) -> Drift:
    """The comparison alone."""
    limits, now = context.settings.drift, wall_us()
    registry = Registry.of(context)
    champion = registry.champion(service.model)
    if champion is None:
        raise RegistryError(
            "model.none", f"no version of {service.model} serves", hint=f"appliance model train {service.name}"
        )
    record = registry.get(service.model, champion.version)
    folder = registry.path(record.model, record.version)
    with reading.connect(context.run("drift"), _LIMITS) as connection:
        served, scores, hours = _served(context, connection, service, record, limits)
        labels = _labels(context, connection, plan, service)
    training, training_scores = _training(folder, record)
    features = (
        [_feature(name, training[:, place], served[:, place]) for place, name in enumerate(service.features)]
        if record.inputs == tuple(name.partition(":")[2] for name in service.features)
        else []
    )
    score_psi = measure.psi(training_scores, scores) if len(training_scores) and len(scores) else None
    enough = len(served) >= limits.min_rows and hours >= _COVERED * limits.window_hours
    return Drift(
        service=service.name,
        model=record.model,
        model_version=str(record.version),
        measured_at=now,
        hours=hours,
        rows=len(served),
        training_rows=len(training),
        enough=enough,
        score_psi=None if score_psi is None else round(score_psi, 6),
        features=features,
        labels=labels,
        findings=kept.findings(features, score_psi, labels, enough, limits),
    )


def _served(
    context: Context, connection: duckdb.DuckDBPyConnection, service: Service, record: ModelVersion, limits: Limits
) -> tuple[Matrix, npt.NDArray[np.float32], float]:
    """Of the last ``window_hours`` of event time: float32 [n, k] features of predictions by any version (features are
    the service's), scores of those by the serving one, and how many hours they cover.

    Chosen at random where there are more than ``max_rows``.
    """
    ledger = reading.scan(context.layout.lake / context.names.lake_ledger(service.name), schema.LEDGER)
    mine = f"model = {literal(record.model)} AND model_version = {literal(str(record.version))}"
    selected = f"""WITH newest AS (SELECT quantile_disc(epoch_us(as_of), {1 - _OUTLIERS}) AS at FROM {ledger})
        SELECT features, CASE WHEN {mine} THEN score END AS score, epoch_us(as_of) AS as_of FROM {ledger}, newest
        WHERE epoch_us(as_of) <= newest.at AND epoch_us(as_of) > newest.at - {limits.window_hours * _HOUR_US}
        ORDER BY md5(prediction_id) LIMIT {limits.max_rows}"""
    rows: list[list[float]] = []
    scores: list[float] = []
    times: list[int] = []
    for batch in connection.sql(selected).to_arrow_reader(_BATCH_ROWS):
        for raw in batch.column("features").to_pylist():
            values = _FEATURES.decode(raw)
            rows.append([_number(values.get(name)) for name in service.features])
        scores += [score for score in batch.column("score").to_pylist() if score is not None]
        times += batch.column("as_of").to_pylist()
    matrix = np.array(rows, np.float32).reshape(-1, len(service.features))
    hours = (max(times) - min(times)) / _HOUR_US if times else 0.0
    return matrix, np.array(scores, np.float32), round(hours, 2)


def _number(one: FeatureValue | None) -> float:
    if one is None or one.value is None or isinstance(one.value, list):
        return math.nan
    return float(one.value)


def _training(folder: Path, record: ModelVersion) -> tuple[Matrix, npt.NDArray[np.float32]]:
    """float32 [n, k] inputs of the past, and scores of the rows of the test, which the model has not learned from."""
    table = parquet.read_table(folder / FILE, columns=[*record.inputs, "part"])
    test = table["part"].to_numpy() == TEST
    inputs = np.stack([table[name].to_numpy().astype(np.float32)[~test] for name in record.inputs], axis=1)
    if not (folder / _SCORES).exists():
        return inputs, np.array([], np.float32)
    scores = parquet.read_table(folder / _SCORES)["score"].to_numpy().astype(np.float32)
    return inputs, scores[test]


def _feature(name: str, training: npt.NDArray[np.float32], served: npt.NDArray[np.float32]) -> FeatureDrift:
    known, got = training[~np.isnan(training)], served[~np.isnan(served)]
    bins = len(np.unique(known)) + 1 if measure.categorical(known) else measure.BINS
    return FeatureDrift(
        feature=name,
        psi=round(measure.psi(known, got), 6),
        psi_by_chance=round(measure.chance(bins, len(known), len(got)), 6),
        missing_share=round(1 - len(got) / len(served), 6) if len(served) else 0.0,
        training_missing_share=round(1 - len(known) / len(training), 6) if len(training) else 0.0,
        unseen_share=round(measure.unseen_share(known, got), 6),
        mean=float(got.mean(dtype=np.float64)) if len(got) else None,
        training_mean=float(known.mean(dtype=np.float64)) if len(known) else None,
    )


def _labels(context: Context, connection: duckdb.DuckDBPyConnection, plan: Plan, service: Service) -> LabelDelay:
    """How long answers take, in the data's own time."""
    recipe = read_recipe(plan.scenario)
    label = recipe.label
    event_table, label_table = events.tables(plan, service, recipe)
    reading.changes(context, connection, event_table).create_view("event_changes")
    reading.changes(context, connection, label_table).create_view("label_changes")
    at, key = quote(f"after_{service.event_time}"), quote(f"after_{service.event_key}")
    label_key, known_at = quote(f"after_{label.key}"), quote(f"after_{label.known_at}")
    row = connection.execute(
        f"""WITH newest AS (SELECT max({known_at}) AS label_at FROM label_changes WHERE op IN ('c', 'r', 'u')),
        recent AS (
          SELECT {label_key}::VARCHAR AS key, min({known_at}) AS at FROM label_changes, newest
          WHERE op IN ('c', 'r', 'u') AND {known_at} > newest.label_at - INTERVAL {_LABEL_DAYS} DAY GROUP BY ALL
        ),
        delays AS (
          SELECT epoch_us(recent.at) - epoch_us(min({at})) AS delay FROM recent
          JOIN event_changes ON {key}::VARCHAR = recent.key WHERE op IN ('c', 'r') GROUP BY recent.key, recent.at
        )
        SELECT (SELECT count(*) FROM recent), (SELECT quantile_cont(delay, [0.5, 0.9]) FROM delays),
          (SELECT max(epoch_us({at})) FROM event_changes WHERE op IN ('c', 'r'))
          - (SELECT epoch_us(label_at) FROM newest)
        """
    ).fetchone()
    if row is None or not row[0]:
        return LabelDelay(0, None, None, None)
    median, p90 = (None if one is None else round(one / _HOUR_US, 2) for one in (row[1] or [None, None]))
    return LabelDelay(int(row[0]), median, p90, None if row[2] is None else round(max(0, row[2]) / _HOUR_US, 2))
