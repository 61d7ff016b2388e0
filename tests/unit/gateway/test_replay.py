"""Past predictions computed again: features from the lake, the definition and the policy of that time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from appliance import position
from appliance.records import Prediction
from gateway.replay import decisions, features, ledger, meaning, run, scores
from gateway.replay.meaning import Meaning
from stream_jobs import plan as plans
from stream_jobs.compiler.definition import service_hash
from stream_jobs.lake import reading, schema
from stream_jobs.lake.reach import Reached
from stream_jobs.parity.ledger import Selection
from stream_jobs.plan import Plan, Policy, PolicySince
from tests.unit.gateway import example
from tests.unit.stream_jobs.parity import business
from tests.unit.stream_jobs.parity.business import NAMES, PLAN, SERVICE, Commit, Paths, Row, World

HAPPENED = business.history()


def _mended(commits: list[Commit]) -> list[Commit]:
    """The lake as the mender leaves it: a truncate is followed by a delete of every row."""
    live: dict[int, Row] = {}
    made: list[Commit] = []
    for commit in commits:
        made.append(commit)
        if commit.table != business.PAYMENTS.table:
            continue
        if commit.op == "t":
            made += [Commit(commit.step, commit.table, "d", row, None) for row in live.values()]
            live.clear()
        if commit.before is not None:
            live.pop(commit.before["id"], None)
        if commit.after is not None:
            live[commit.after["id"]] = commit.after
    return made


def _meaning() -> Meaning:
    views = tuple(PLAN.view(name) for name in SERVICE.views)
    return Meaning(Plan(PLAN.scenario, PLAN.tables, views, (SERVICE,)), SERVICE.definition_hash)


def _logged(world: World) -> list[Prediction]:
    table = reading.scan(world.context.layout.lake / NAMES.lake_ledger(SERVICE.name), schema.LEDGER)
    with reading.connect(world.context.run("replay")) as connection:
        selected = Selection(None, 0, 0, 2**62).sql(table, ledger.COLUMNS)
        return [one for some in ledger.blocks(connection, selected, 100) for one in some]


def _differing(world: World, monkeypatch: pytest.MonkeyPatch) -> dict[str, run.Difference]:
    """Prediction → its first difference, of all predictions that the world made."""
    monkeypatch.setattr(
        "stream_jobs.lake.reach.read", lambda path: Reached(position.LAST)
    )  # there are no markers, and all is there
    predictions = _logged(world)
    assert len(predictions) == len(HAPPENED.scored)
    known = _meaning()
    found = features.recompute(world.context, known, predictions, 0)
    assert not found.why_not
    close = features.closeness(known)
    assert not any(run.in_cuts(one, SERVICE) for one in predictions)
    compared = {
        one.prediction_id: run.in_features(one, SERVICE, found.values[one.prediction_id], close) for one in predictions
    }
    return {name: one for name, one in compared.items() if one is not None}


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nothing was changed on the way."""
    return World(tmp_path_factory.mktemp("right"), Paths(lake=_mended), HAPPENED)


def test_features_computed_from_the_lake_are_those_that_were_served(
    right: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _differing(right, monkeypatch) == {}


def test_a_changed_value_of_the_ledger_is_found_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = SERVICE.features[-1]

    def changed(feature: str, value: object) -> object:
        return value + 1 if feature == name and isinstance(value, int | float) else value

    found = _differing(World(tmp_path, Paths(lake=_mended, logged=changed), HAPPENED), monkeypatch)
    assert found and {(one.what, one.name) for one in found.values()} == {("feature", name)}


def test_a_change_that_the_lake_lost_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(commits: list[Commit]) -> list[Commit]:
        inserts = [one for one in commits if one.op == "c" and one.table == business.PAYMENTS.table]
        return [one for one in _mended(commits) if one is not inserts[0]]

    found = _differing(World(tmp_path, Paths(lake=lost), HAPPENED), monkeypatch)
    assert {one.what for one in found.values()} == {"feature"}


def test_a_cut_that_its_position_reached_does_not_give_is_found(right: World) -> None:
    (first, *_) = _logged(right)
    wrong = replace(first, cuts=first.cuts | {SERVICE.views[0]: "f" * 32})
    found = run.in_cuts(wrong, SERVICE)
    assert found is not None and (found.what, found.name, found.expected) == ("cut", SERVICE.views[0], "f" * 32)


def test_what_a_hash_meant_is_kept_when_the_plan_has_moved_on(tmp_path: Path) -> None:
    path = tmp_path / "plan" / "plan.json"
    views = {view.name: view for view in example.PLAN.views}
    first = replace(example.SERVICE, definition_hash=service_hash(example.SERVICE, views))
    plans.write(replace(example.PLAN, services=(first,)), path)
    longer = replace(example.SPENDING, version=2, definition_hash="other", features=example.SPENDING.features[:1])
    second = replace(first, features=first.features[:2], definition_hash="")
    second = replace(second, definition_hash=service_hash(second, {longer.name: longer}))
    later = replace(example.PLAN, views=(longer,), services=(second,))
    plans.write(later, path)
    before = meaning.find(path, later, first.name, first.definition_hash)
    assert before is not None and before.hash == first.definition_hash
    assert before.views == (example.SPENDING,) and before.service == first
    assert meaning.find(path, later, first.name, "never heard of") is None
    kept = path.parent / "services" / f"{first.definition_hash}.json"
    known = msgspec.json.decode(kept.read_bytes(), type=plans.ServiceDefinition)
    assert known.plan is not None
    forged = replace(known, plan=replace(known.plan, views=(longer,)))
    kept.write_bytes(msgspec.json.encode(forged))
    found = meaning.find(path, later, first.name, first.definition_hash)
    assert found is not None and found.hash != first.definition_hash


def test_a_definition_kept_before_plans_were_is_completed_by_the_plan_that_has_it(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    old = plans.ServiceDefinition({"spending": "0"}, example.SERVICE.request_features)
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "1.json").write_bytes(msgspec.json.encode(old))
    plans.write(example.PLAN, path)
    known = plans.definition(path, "1")
    assert known is not None and known.plan is not None and known.plan.services == (example.SERVICE,)


def test_the_policy_of_the_time_decides(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plans.write(example.PLAN, path)
    plans.write(example.PLAN, path)
    stricter = replace(example.SERVICE, policy=replace(example.SERVICE.policy, decline=0.6))
    plans.write(replace(example.PLAN, services=(stricter,)), path)
    known = plans.policies(path, "orders")
    assert [one.policy for one in known] == [example.SERVICE.policy, stricter.policy]
    one, other = Policy(0.5, 0.9, 2, ""), Policy(0.5, 0.6, 2, "")
    history = [PolicySince(1_000, one), PolicySince(100_000_000, other)]
    assert decisions.in_force(history, 999) == []
    assert decisions.in_force(history, 1_000) == [one]
    assert decisions.in_force(history, 100_000_000) == [other, one]
    assert decisions.in_force(history, 100_000_000 + decisions.TAKEN_UP_US) == [other]


@pytest.mark.parametrize(
    ("score", "logged", "place", "decision"),
    [
        (0.95, "approve", None, "decline"),
        (0.1, "review", True, "approve"),
        (0.7, "approve", None, "approve"),  # nobody remembers the place: the ledger's word
        (0.7, "review", None, "review"),
        (0.7, "review", False, "approve"),
        (0.7, "approve", True, "review"),
    ],
)
def test_a_place_for_a_review_is_what_was_remembered(
    right: World, score: float, logged: str, place: bool | None, decision: str
) -> None:
    prediction = replace(_logged(right)[0], score=score, decision=logged)
    assert decisions.decide(Policy(0.5, 0.9, 2, ""), prediction, place).decision == decision


def test_scores_are_the_same_to_the_bit_or_within_the_tolerance() -> None:
    assert scores.equal(0.5, 0.5) == (True, True)
    assert scores.equal(0.5, 0.5 + 1e-7) == (True, False)
    assert scores.equal(0.5, 0.5 + 1e-5) == (False, False)
