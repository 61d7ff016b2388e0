"""What counts as equal, which predictions are compared, what a difference says, and what a certificate is worth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from feast import FeatureStore

from stream_jobs import plan as plans
from stream_jobs.errors import ParityError
from stream_jobs.parity import certificate, kept
from stream_jobs.parity.compare import distance, tolerance
from stream_jobs.parity.ledger import Selection
from stream_jobs.plan import Column, WindowFeature
from tests.unit.stream_jobs.parity import business
from tests.unit.stream_jobs.parity.business import CARD_LABELS, CARD_PAYMENTS, PLAN, SERVICE, Paths, World

HAPPENED = business.history()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("feast")
    return business.feast_store(folder, folder / "lake")


@pytest.mark.parametrize(
    ("values", "function", "kind", "equal"),
    [
        ([3, 3, 3.0], "count", "int64", True),
        ([3, 3, 4], "count", "int64", False),
        ([1.1, 1.1, 1.1000000000000003], "sum", "decimal", False),
        ([1.1, 1.1, 1.1000000000000003], "mean", "decimal", True),
        ([17_000_000.01, 17_000_000.01, 17_000_000.02], "mean", "decimal", False),
        ([1e-3, 1e-3, 1e-3 + 1e-11], "mean", "float64", True),
        ([5.0, 5.0, 5.00000001], "std", "float64", False),
        ([None, None, 0], "min", "int64", False),
        ([None, None, None], "min", "int64", True),
        (["x", "x", "y"], "last", "string", False),
        ([[1, 2], [1, 2], [2, 1]], "last_n", "int64", False),
    ],
)
def test_what_counts_as_equal(values: list[Any], function: Any, kind: Any, equal: bool) -> None:
    close = tolerance(WindowFeature("f", function, "c", 1), Column("c", kind, 2))
    assert distance(values, close)[0] is equal


def test_a_sample_is_the_same_for_the_same_seed(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, Paths(logged=lambda name, value: -1 if name == "card_labels:labels" else value), HAPPENED)
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))

    def ids(seed: int) -> list[str]:
        made = world.certificates(store, Selection(10, seed, 0, 2**62))["card_labels"]
        assert (made.ledger_rows, made.rows_compared, made.rows_different) == (10, 10, 10)
        return [each.prediction_id for each in made.differences]

    assert ids(1) == ids(1) != ids(2)


def test_rows_are_told_apart_by_knowledge_and_none_is_left_out_in_silence(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, Paths(definition_hash="before"), HAPPENED)
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    rows = len(HAPPENED.scored)
    reason = "made with another definition than the plan now has"
    for one in world.certificates(store).values():
        assert (one.ledger_rows, one.rows_compared, one.not_compared) == (rows, 0, {reason: rows})
    former = msgspec.structs.replace(CARD_PAYMENTS, definition_hash="payments-1")
    service = msgspec.structs.replace(SERVICE, definition_hash="before")
    file = world.context.layout.plan_file
    plans.write(msgspec.structs.replace(PLAN, views=(former, CARD_LABELS), services=(service,)), file)
    plans.write(PLAN, file)
    made = world.certificates(store)
    assert made["card_payments"].not_compared == {reason: rows}, "this view has changed"
    assert (made["card_labels"].rows_compared, made["card_labels"].rows_different) == (rows, 0), "this one has not"


def test_the_snapshot_is_assumed_knowledge(
    store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    made = World(tmp_path, Paths(), HAPPENED).certificates(store)
    payments, labels = made["card_payments"], made["card_labels"]
    assert payments.rows_assumed > 0
    assert payments.rows_observed > 0
    assert payments.rows_assumed + payments.rows_observed == payments.rows_compared == len(HAPPENED.scored)
    assert labels.rows_assumed == 0, "there was no label in the snapshot"


@pytest.fixture
def differing(store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> certificate.Certificate:
    """Of a business one of whose inserts HBase does not have."""
    first = next(commit for commit in HAPPENED.commits if commit.op == "c" and commit.table == CARD_PAYMENTS.table)
    paths = replace(Paths(), hbase=lambda made: [one for one in made if one[0] != first.step])
    monkeypatch.setenv("APPLIANCE_HOME", str(tmp_path))
    return World(tmp_path, paths, HAPPENED).certificates(store)["card_payments"]


def test_the_first_difference_names_the_edit_that_one_side_lacks(differing: certificate.Certificate) -> None:
    first = next(commit for commit in HAPPENED.commits if commit.op == "c" and commit.table == CARD_PAYMENTS.table)
    found = differing.first_difference
    assert found is not None and first.after is not None
    assert found.prediction_id == differing.differences[0].prediction_id
    assert found.values["logged"] == found.values["lake"] != found.values["hbase"]
    assert found.only_in_hbase == found.differing == ()
    (lacking,) = found.only_in_lake
    assert (lacking.sign, lacking.row_id, lacking.position) == (
        1, str(first.after["id"]), business.position(first.step)
    )  # fmt: skip
    assert "HBase gives another one" in found.verdict
    assert "do not have the same edits" in found.verdict
    text = "\n".join(certificate.lines(differing))
    assert f"only in the lake: + row {first.after['id']}" in text
    assert "DIFFERENT" in text


def test_a_kept_certificate_shows_if_it_was_changed(differing: certificate.Certificate, tmp_path: Path) -> None:
    path = certificate.keep(differing, tmp_path / "kept")
    assert certificate.read(path) == differing
    assert kept.files(tmp_path / "kept", "card_payments") == kept.files(tmp_path / "kept", "card_payments.v2") == [path]
    assert kept.files(tmp_path / "kept", "card_labels") == []
    assert kept.different(path) == differing.rows_different > 0
    path.write_bytes(path.read_bytes().replace(b'"rows_observed"', b'"rows_observed" '))
    assert certificate.read(path) == differing, "spaces say nothing"
    path.write_bytes(
        path.read_bytes().replace(f'"rows_different": {differing.rows_different}'.encode(), b'"rows_different": 0')
    )
    with pytest.raises(ParityError, match="not as it was written"):
        certificate.read(path)
