"""Errors planted in every path between a committed row and a certificate: parity must report each of them.

docs/parity.md lists them. A mutant changes one thing in one path, and everything else is the product's own code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from feast import FeatureStore

from appliance import position as positions
from appliance.records import Edit
from stream_jobs.online.packed import HEADER_BYTES, RowLayout
from stream_jobs.plan import Plan, View, WindowFeature
from stream_jobs.windows import aggregate
from tests.unit.stream_jobs.parity import business
from tests.unit.stream_jobs.parity.business import CARD_PAYMENTS, HOUR, PLAN, Commit, Paths, World, edits, position

HAPPENED = business.history()
EDITS = edits(HAPPENED.commits, CARD_PAYMENTS)
TRUNCATED_AT = next(commit.step for commit in HAPPENED.commits if commit.op == "t")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("feast")
    return business.feast_store(folder, folder / "lake")


def different(store: FeatureStore, home: Path, monkeypatch: pytest.MonkeyPatch, paths: Paths) -> dict[str, int]:
    """View → rows different."""
    world = World(home, paths, HAPPENED)
    monkeypatch.setenv("APPLIANCE_HOME", str(home))
    return {name: one.rows_different for name, one in world.certificates(store).items()}


def _asked_of(edit: Edit, step: int) -> bool:
    """Whether a later question reads the edit's entity while nothing newer was said of its row."""
    later = [s for s, other in EDITS if other.row_id == edit.row_id and s > step]
    until = min(later, default=10**9)
    return any(
        str(scored.row["card"]) == edit.entity
        and str(scored.row["id"]) != edit.row_id
        and step <= scored.reached < until
        and edit.event_time <= scored.row["at"] < edit.event_time + HOUR // 2
        for scored in HAPPENED.scored
    )


def victim(wanted: Callable[[int, Edit], bool]) -> tuple[int, Edit]:
    """The first edit of that kind that a question depends on."""
    for step, edit in EDITS:
        if wanted(step, edit) and _asked_of(edit, step):
            return step, edit
    raise AssertionError("the business has no such edit")


def _ops(step: int) -> str:
    return next(commit.op for commit in HAPPENED.commits if commit.step == step)


def _moves(step: int) -> bool:
    commit = next(each for each in HAPPENED.commits if each.step == step)
    return commit.op == "u" and commit.before is not None and commit.before["card"] != (commit.after or {})["card"]


INSERTED = victim(lambda step, edit: _ops(step) == "c" and edit.columns["points"] is not None)
WITH_NULL = victim(lambda step, edit: _ops(step) == "c" and edit.columns["points"] is None)
SNAPSHOT = victim(lambda step, edit: _ops(step) == "r")
REMOVED = victim(lambda step, edit: _ops(step) == "d")
MOVED_AWAY = victim(lambda step, edit: edit.sign < 0 and _moves(step))


def one(at: tuple[int, Edit], into: Callable[[int, Edit], list[tuple[int, Edit]]]) -> business.EditChange:
    """Replaces one edit."""

    def change(made: list[tuple[int, Edit]]) -> list[tuple[int, Edit]]:
        return [each for step, edit in made for each in (into(step, edit) if (step, edit) == at else [(step, edit)])]

    return change


def with_(**fields: Any) -> Callable[[int, Edit], list[tuple[int, Edit]]]:
    return lambda step, edit: [(step, msgspec.structs.replace(edit, **fields))]


def column(name: str, value: Callable[[Any], Any]) -> Callable[[int, Edit], list[tuple[int, Edit]]]:
    return lambda step, edit: [
        (step, msgspec.structs.replace(edit, columns=edit.columns | {name: value(edit.columns[name])}))
    ]


def _again(step: int, edit: Edit) -> list[tuple[int, Edit]]:
    """The row that was taken out comes once more, behind its removal."""
    return [(step, edit), (step, msgspec.structs.replace(edit, sign=1, position=position(step)[:-1] + "f"))]


def _swapped_ties(made: list[tuple[int, Edit]]) -> list[tuple[int, Edit]]:
    """Of rows of one card and time the first takes the place of the last."""
    groups: dict[tuple[str, int], list[int]] = {}
    for index, (_, edit) in enumerate(made):
        if edit.sign > 0:
            groups.setdefault((edit.entity, edit.event_time), []).append(index)
    changed = list(made)
    for places in groups.values():
        for index, other in zip(places, reversed(places), strict=True):
            step, edit = made[index]
            changed[index] = (step, msgspec.structs.replace(edit, position=made[other][1].position))
    return changed


def _without_truncate(made: list[tuple[int, Edit]]) -> list[tuple[int, Edit]]:
    return [each for each in made if each[0] != TRUNCATED_AT]


EDIT_MUTANTS: dict[str, business.EditChange] = {
    "an insert is dropped": one(INSERTED, lambda step, edit: []),
    "a row of the snapshot is dropped": one(SNAPSHOT, lambda step, edit: []),
    "a delete is dropped": one(REMOVED, lambda step, edit: []),
    "a key moves and the old entity keeps the row": one(MOVED_AWAY, lambda step, edit: []),
    "a deleted row comes again at another position": one(REMOVED, _again),
    "an insert comes twice, under two row ids": one(
        INSERTED, lambda step, edit: [(step, edit), (step, msgspec.structs.replace(edit, row_id="987654"))]
    ),
    "a delete stands before its insert": one(REMOVED, with_(position=positions.ZERO)),
    "an insert stands behind later changes": one(INSERTED, with_(position=position(INSERTED[0] + 60))),
    "an insert's sign is flipped": one(INSERTED, with_(sign=-1)),
    "a delete's sign is flipped": one(REMOVED, with_(sign=1)),
    "an event time is shifted": one(INSERTED, with_(event_time=INSERTED[1].event_time - 5 * HOUR)),
    "an amount is a cent more": one(INSERTED, column("amount", lambda value: f"{float(value) + 0.01:.2f}")),
    "an amount goes through float32": one(INSERTED, column("amount", lambda value: f"{np.float32(value):.2f}")),
    "a null becomes 0": one(WITH_NULL, column("points", lambda value: 0)),
    "a filter's column is negated": one(INSERTED, column("online", lambda value: not value)),
    "an edit goes to another entity": one(INSERTED, with_(entity=str(int(INSERTED[1].entity) % 3 + 1))),
    "a truncate is ignored": _without_truncate,
    "rows of one time change places": _swapped_ties,
}


@pytest.mark.parametrize("name", EDIT_MUTANTS)
@pytest.mark.parametrize("path", ["redis", "hbase"])
def test_an_error_of_a_writer_is_caught(
    path: str, name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = different(store, tmp_path, monkeypatch, replace(Paths(), **{path: EDIT_MUTANTS[name]}))
    assert found["card_payments"] > 0
    assert found["card_labels"] == 0


def commit_of(at: tuple[int, Edit], into: Callable[[Commit], list[Commit]]) -> business.CommitChange:
    """Replaces the change that made an edit."""

    def same(commit: Commit) -> bool:
        image = commit.after if at[1].sign > 0 else commit.before
        return commit.step == at[0] and image is not None and str(image["id"]) == at[1].row_id

    return lambda commits: [each for commit in commits for each in (into(commit) if same(commit) else [commit])]


def after(**fields: Any) -> Callable[[Commit], list[Commit]]:
    return lambda commit: [replace(commit, after=(commit.after or {}) | fields)]


LAKE_MUTANTS: dict[str, business.CommitChange] = {
    "an insert is dropped": commit_of(INSERTED, lambda commit: []),
    "a row of the snapshot is dropped": commit_of(SNAPSHOT, lambda commit: []),
    "a delete is dropped": commit_of(REMOVED, lambda commit: []),
    "a key moves and the old entity keeps the row": commit_of(
        MOVED_AWAY, lambda commit: [replace(commit, after=commit.before)]
    ),
    "a deleted row comes again at another position": commit_of(
        REMOVED,
        lambda commit: [commit, replace(commit, op="c", step=commit.step + 1, before=None, after=commit.before)],
    ),
    "an insert comes twice, under two row ids": commit_of(INSERTED, lambda commit: [commit, *after(id=987654)(commit)]),
    "a delete stands before its insert": commit_of(REMOVED, lambda commit: [replace(commit, step=-100)]),
    "an insert stands behind later changes": commit_of(
        INSERTED, lambda commit: [replace(commit, step=commit.step + 60)]
    ),
    "an insert is taken for a delete": commit_of(
        INSERTED, lambda commit: [replace(commit, op="d", before=commit.after, after=None)]
    ),
    "an event time is shifted": commit_of(INSERTED, after(at=INSERTED[1].event_time - 5 * HOUR)),
    "an amount is a cent more": commit_of(
        INSERTED, after(amount=f"{float(str(INSERTED[1].columns['amount'])) + 0.01:.2f}")
    ),
    "a null becomes 0": commit_of(WITH_NULL, after(points=0)),
    "an edit goes to another entity": commit_of(INSERTED, after(card=int(INSERTED[1].entity) % 3 + 1)),
    "a truncate is ignored": lambda commits: [commit for commit in commits if commit.op != "t"],
}


@pytest.mark.parametrize("name", LAKE_MUTANTS)
def test_an_error_of_the_lake_is_caught(
    name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = different(store, tmp_path, monkeypatch, Paths(lake=LAKE_MUTANTS[name]))
    assert found["card_payments"] > 0
    assert found["card_labels"] == 0


def defined(change: Callable[[WindowFeature], WindowFeature], view: str = "card_payments") -> Plan:
    """The plan with the features of a view changed."""
    views = tuple(
        msgspec.structs.replace(each, features=tuple(map(change, each.features))) if each.name == view else each
        for each in PLAN.views
    )
    return msgspec.structs.replace(PLAN, views=views)


def feature(name: str, **fields: Any) -> Callable[[WindowFeature], WindowFeature]:
    return lambda each: msgspec.structs.replace(each, **fields) if each.name == name else each


def wider(by_us: int) -> Callable[[WindowFeature], WindowFeature]:
    return lambda each: msgspec.structs.replace(each, window_us=each.window_us + by_us)


DEFINITION_MUTANTS: dict[str, Plan] = {
    "a window's older bound is closed (≥ for >)": defined(wider(1)),
    "a window is 1 µs too short": defined(wider(-1)),
    "a filter is ignored": defined(feature("online_rows", where=None)),
    "last n gives n - 1": defined(feature("last_two", n=1)),
    "another function": defined(feature("oldest", function="last")),
    "another column": defined(feature("kinds", column="amount")),
    "a default is ignored": defined(feature("fraud_rate", default=None), "card_labels"),
    "a default is another one": defined(feature("fraud_rate", default=0.0), "card_labels"),
}


@pytest.mark.parametrize("name", DEFINITION_MUTANTS)
@pytest.mark.parametrize("path", ["online", "offline"])
def test_another_definition_in_one_path_is_caught(
    path: str, name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = different(store, tmp_path, monkeypatch, replace(Paths(), **{path: DEFINITION_MUTANTS[name]}))
    assert sum(found.values()) > 0


def _former(view: View) -> View:
    """A view as its former version was: its own name in the stores, and shorter windows."""
    return msgspec.structs.replace(
        view, version=1, edits_topic=business.NAMES.edits(view.name, 1),
        features=tuple(msgspec.structs.replace(each, window_us=each.window_us // 2) for each in view.features),
    )  # fmt: skip


def _first_record_lost(raw: bytes) -> bytes:
    width = len(RowLayout.of(PLAN, CARD_PAYMENTS).encode(INSERTED[1]))
    return raw[:HEADER_BYTES] + raw[HEADER_BYTES + width :] if (len(raw) - HEADER_BYTES) % width == 0 else raw


READ_MUTANTS: dict[str, Paths] = {
    "the cut is ignored": Paths(cut_ignored=True),
    "a marker overtakes edits": Paths(claimed=6),
    "a process keeps a former version of the plan": Paths(
        online=msgspec.structs.replace(PLAN, views=(_former(CARD_PAYMENTS), PLAN.views[1]))
    ),
    "compaction takes out a row and does not say so": Paths(entity_log=_first_record_lost),
    "the ledger rounds": Paths(logged=lambda name, value: round(value, 1) if isinstance(value, float) else value),
    "the ledger takes 0 for null": Paths(logged=lambda name, value: 0 if value is None else value),
}


@pytest.mark.parametrize("name", READ_MUTANTS)
def test_an_error_of_the_online_read_is_caught(
    name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert different(store, tmp_path, monkeypatch, READ_MUTANTS[name])["card_payments"] > 0


def _population(slices: aggregate.Slices, feature: WindowFeature) -> list[Any]:
    return [float(np.std(values)) / 100 if len(values) > 1 else None for values in slices.lists()]


def _early_floats(slices: aggregate.Slices, feature: WindowFeature) -> list[Any]:
    return [float(np.cumsum([value / 100 for value in values])[-1]) if values else 0.0 for values in slices.lists()]


AGGREGATE_MUTANTS: dict[str, tuple[str, Callable[..., list[Any]]]] = {
    "the deviation is the population's (n for n - 1)": ("std", _population),
    "decimals become floats before they are added": ("sum", _early_floats),
    "the first row counts as the last": ("last", aggregate.AGGREGATES["first"]),  # type: ignore[dict-item]
    "the smallest counts as the largest": ("max", aggregate.AGGREGATES["min"]),  # type: ignore[dict-item]
}


@pytest.mark.parametrize("name", AGGREGATE_MUTANTS)
def test_an_error_of_the_algebra_is_caught(
    name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numpy: the online reader's kernel and the SQL see it, or the SQL alone where the kernel is not used."""
    function, wrong = AGGREGATE_MUTANTS[name]
    monkeypatch.setitem(aggregate.AGGREGATES, function, wrong)
    assert different(store, tmp_path, monkeypatch, Paths())["card_payments"] > 0


HAND_MUTANTS: dict[str, Paths] = {
    "the row in hand counts twice": Paths(in_hand=lambda row: row | {"id": 987_654}),
    "the row in hand is left out": Paths(
        online=msgspec.structs.replace(PLAN, services=(msgspec.structs.replace(business.SERVICE, row_views=()),))
    ),
    "the row in hand has another amount": Paths(in_hand=lambda row: row | {"amount": "0.01"}),
}


@pytest.mark.parametrize("name", HAND_MUTANTS)
def test_an_error_with_the_row_in_hand_is_caught(
    name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert different(store, tmp_path, monkeypatch, HAND_MUTANTS[name])["card_payments"] > 0


def test_another_request_function_is_caught(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true_asked = business.asked
    monkeypatch.setattr(business, "asked", lambda row: true_asked(row) + 0.01)
    with monkeypatch.context() as patched:
        patched.setattr(business, "asked", true_asked)
        world = World(tmp_path, Paths(), HAPPENED)
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    assert world.certificates(store)["fraud.request"].rows_different == len(HAPPENED.scored)


def _repeated(made: list[tuple[int, Edit]]) -> list[tuple[int, Edit]]:
    return [each for one in made for each in (one, one)]


NO_MUTANTS: dict[str, Paths] = {
    "as it is": Paths(),
    "every edit is delivered twice": Paths(redis=_repeated, hbase=_repeated),
    "edits arrive in another order": Paths(
        redis=lambda made: sorted(made, key=lambda one: (one[0], one[1].sign)), hbase=lambda made: made[::-1]
    ),
    "the lake gets every change twice": Paths(lake=lambda commits: [each for one in commits for each in (one, one)]),
}


@pytest.mark.parametrize("name", NO_MUTANTS)
def test_without_a_mutant_nothing_differs(
    name: str, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(different(store, tmp_path, monkeypatch, NO_MUTANTS[name]).values()) == {0}
