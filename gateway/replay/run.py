"""Past predictions computed again, in the order in which they were made: the first thing that differs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import redis
from msgspec.structs import replace

from appliance import position as positions
from appliance import users
from appliance.clients import redis as redis_clients
from appliance.errors import PartError
from appliance.parts.base import Context
from appliance.records import FeatureValue, Prediction
from gateway.replay import decisions, features, ledger, meaning, scores
from gateway.replay.meaning import Meaning
from gateway.scoring.features import matrix
from gateway.scoring.policy import ReviewCapacity
from stream_jobs.lake import reading, schema
from stream_jobs.online.reader import Vector
from stream_jobs.parity.compare import Close, distance
from stream_jobs.plan import Plan, Service

BLOCK_ROWS = 2_000
_LIMITS = reading.Limits(memory_mib=512, threads=2)

Outcome = Literal["equal", "differs", "not recomputed"]
What = Literal["definition hash", "cut", "feature", "model inputs", "model hash", "score", "decision"]


class Difference(msgspec.Struct, frozen=True):
    """The first thing that differs. name: of the feature, view or model. expected: logged. got: computed again."""

    what: What
    name: str
    expected: Any
    got: Any


class Replayed(msgspec.Struct, frozen=True):
    """One prediction. bits: its score is the same float32 to the bit. place: whether the place for a review was taken
    from the ledger, because Redis no longer remembers it. reason: why it was not recomputed."""

    prediction_id: str
    service: str
    way: str
    scored_at: int
    model: str
    model_version: str
    definition_hash: str
    outcome: Outcome
    difference: Difference | None = None
    reason: str = ""
    bits: bool = False
    place_from_ledger: bool = False


class Summary(msgspec.Struct, frozen=True):
    """What a replay found. score_tolerance: within which scores count as equal; bits_equal: how many are so exactly."""

    predictions: int
    equal: int
    differ: int
    not_recomputed: int
    bits_equal: int
    score_tolerance: float
    places_from_ledger: int
    models: dict[str, int]
    definitions: dict[str, int]
    seconds: float
    results: list[Replayed]

    @property
    def proven(self) -> bool:
        """Everything was computed again, there was something, and nothing differs."""
        return 0 < self.predictions == self.equal


def replay(
    context: Context, plan: Plan, service: str, select: Callable[[str], str], wait_seconds: float
) -> Iterator[list[Replayed]]:
    """Replays the predictions of a service's ledger, block after block.

    select: relation in the ledger's schema → SELECT of ``ledger.COLUMNS``. Raises LakeError, DeploymentError,
    PartError when Redis does not answer, TritonUnavailableError.
    """
    table = reading.scan(context.layout.lake / context.names.lake_ledger(service), schema.LEDGER)
    with reading.connect(context.run("replay"), _LIMITS) as connection:
        for block in ledger.blocks(connection, select(table), BLOCK_ROWS):
            for definition, some in groupby(block, attrgetter("definition_hash")):
                yield _of_definition(context, plan, service, definition, list(some), wait_seconds)


def _of_definition(
    context: Context, plan: Plan, service: str, definition: str, predictions: list[Prediction], wait_seconds: float
) -> list[Replayed]:
    known = meaning.find(context.layout.plan_file, plan, service, definition)
    if known is None:
        return [_left_out(each, "the definition that it names was not kept") for each in predictions]
    if known.hash != definition:
        found = Difference("definition hash", service, definition, known.hash)
        return [_result(each, "differs", difference=found) for each in predictions]
    done: dict[str, Replayed] = {}
    for each in predictions:
        if difference := in_cuts(each, known.service):
            done[each.prediction_id] = _result(each, "differs", difference=difference)
    asked = [each for each in predictions if each.prediction_id not in done]
    computed = features.recompute(context, known, asked, wait_seconds)
    close = features.closeness(known)
    for each in asked:
        if why_not := computed.why_not.get(each.prediction_id):
            done[each.prediction_id] = _left_out(each, why_not)
        elif difference := in_features(each, known.service, computed.values[each.prediction_id], close):
            done[each.prediction_id] = _result(each, "differs", difference=difference)
    left = [each for each in predictions if each.prediction_id not in done]
    by_model = attrgetter("model", "model_version")
    for _, some in groupby(sorted(left, key=by_model), by_model):
        _of_model(context, known, list(some), computed.values, done)
    _decided(context, known, [each for each in predictions if each.prediction_id in done], done)
    return [done[each.prediction_id] for each in predictions]


def in_cuts(prediction: Prediction, service: Service) -> Difference | None:
    """The first view whose cut is not what the position that it had reached gives."""
    for view in service.views:
        reached = prediction.reached.get(view) or positions.ZERO
        cut = min(reached, prediction.source_position) if prediction.source_position else reached
        if prediction.cuts.get(view) != cut:
            return Difference("cut", view, prediction.cuts.get(view), cut)
    return None


def in_features(
    prediction: Prediction, service: Service, values: Mapping[str, Any], close: Mapping[str, Close]
) -> Difference | None:
    """The first feature that differs, in the order of the model's inputs."""
    for name in service.features:
        logged = prediction.features[name].value
        if not distance([logged, values[name]], close.get(name, (0.0, 0.0)))[0]:
            return Difference("feature", name, logged, values[name])
    return None


def _of_model(
    context: Context,
    known: Meaning,
    predictions: list[Prediction],
    values: Mapping[str, Mapping[str, Any]],
    done: dict[str, Replayed],
) -> None:
    """Scores of the predictions of one version; what is equal so far is noted as such."""
    first = predictions[0]
    version = scores.version(context, first.model, first.model_version)
    name = f"{first.model} {first.model_version}"
    if version is None or not version.sha256:
        for each in predictions:
            done[each.prediction_id] = _left_out(each, f"the registry has no version {name}")
        return
    wanted = tuple(feature.partition(":")[2] for feature in known.service.features)
    difference = None
    if version.sha256 != version.record.model_sha256:
        difference = Difference("model hash", name, version.record.model_sha256, version.sha256)
    elif version.record.inputs != wanted:
        difference = Difference("model inputs", name, list(version.record.inputs), list(wanted))
    if difference is not None:
        done |= {each.prediction_id: _result(each, "differs", difference=difference) for each in predictions}
        return
    tensor = matrix(known.service, [_vector(values[each.prediction_id]) for each in predictions])
    logged = np.array([each.score for each in predictions], np.float32)
    with scores.model(context, version.record) as model:
        found = model.scores(tensor, logged)
    for each, got in zip(predictions, found, strict=True):
        same, bits = scores.equal(each.score, float(got))
        difference = None if same else Difference("score", name, each.score, float(got))
        done[each.prediction_id] = _result(each, "equal" if same else "differs", difference=difference, bits=bits)


def _vector(values: Mapping[str, Any]) -> Vector:
    return Vector({name: FeatureValue(value, "present") for name, value in values.items()}, {}, {}, behind=False)


def _decided(context: Context, known: Meaning, predictions: list[Prediction], done: dict[str, Replayed]) -> None:
    """The decisions of those predictions whose score is equal."""
    equal = [each for each in predictions if done[each.prediction_id].outcome == "equal"]
    policies = decisions.policies(context.layout.plan_file, known.service)
    service, zone = known.service.name, ZoneInfo(known.plan.time_zone)
    try:
        with redis_clients.connect(context, users.ADMINISTRATOR) as store:
            capacity = ReviewCapacity(store, context.installation.tenant, service, zone)
            places = decisions.granted(capacity, equal)
    except redis.RedisError as error:
        raise PartError("redis.down", f"Redis does not answer: {error}", hint="appliance up redis") from error
    for each, place in zip(equal, places, strict=True):
        before = done[each.prediction_id]
        rules = decisions.in_force(policies, each.scored_at)
        if not rules:
            done[each.prediction_id] = _left_out(each, "the policy in force when it was scored was not kept")
            continue
        got = [decisions.decide(one, each, place).decision for one in rules]
        if each.decision in got:
            reviewable = rules[0].review <= each.score < rules[0].decline
            done[each.prediction_id] = replace(before, place_from_ledger=reviewable and place is None)
            continue
        difference = Difference("decision", f"policy of {service}", each.decision, got[0])
        done[each.prediction_id] = replace(before, outcome="differs", difference=difference)


def _left_out(prediction: Prediction, reason: str) -> Replayed:
    return replace(_result(prediction, "not recomputed"), reason=reason)


def _result(
    prediction: Prediction, outcome: Outcome, difference: Difference | None = None, bits: bool = False
) -> Replayed:
    return Replayed(
        prediction.prediction_id, prediction.service, prediction.way, prediction.scored_at, prediction.model,
        prediction.model_version, prediction.definition_hash, outcome, difference, bits=bits,
    )  # fmt: skip


def summary(results: list[Replayed], began: float) -> Summary:
    """began: ``time.monotonic()`` of the start. Results: those that are not equal first."""
    outcomes = Counter(each.outcome for each in results)
    return Summary(
        predictions=len(results),
        equal=outcomes["equal"],
        differ=outcomes["differs"],
        not_recomputed=outcomes["not recomputed"],
        bits_equal=sum(each.bits for each in results),
        score_tolerance=scores.TOLERANCE,
        places_from_ledger=sum(each.place_from_ledger for each in results),
        models=dict(Counter(f"{each.model} {each.model_version}" for each in results)),
        definitions=dict(Counter(each.definition_hash for each in results)),
        seconds=round(time.monotonic() - began, 1),
        results=sorted(results, key=lambda each: (each.outcome == "equal", each.prediction_id)),
    )
