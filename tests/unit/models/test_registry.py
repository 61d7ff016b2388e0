"""States of versions, and what happens to numbers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from models.calibration import Calibration
from models.errors import RegistryError
from models.evaluation import Evaluation
from models.recipe import Evaluation as EvaluationRecipe
from models.recipe import Label, Recipe
from models.registry import Champion, Frame, ModelVersion, Registry, Thresholds
from models.split import Split


def version(number: int, average_precision: float = 0.5) -> ModelVersion:
    return ModelVersion(
        model="m", version=number, service="s", created_at=1, definition_hash="h", inputs=("a",),
        recipe=Recipe(Label("public.labels", "id", "bad", "at"), EvaluationRecipe("who")), seed=1,
        split=Split(0, 1, 2, 3, 4), frame=Frame("f", {"fit": 1}, {"fit": 1}, 0, {}, {}),
        evaluation=Evaluation(10, 2, 0, 0.9, average_precision, 0.3, 100, 7), thresholds=Thresholds(0.1, None, 10.0),
        calibration=Calibration(1.0, 0.0), epochs=(3,), torch_onnx_difference=0.0, triton_difference=0.0,
        model_sha256="s", device="cpu", train_seconds=1.0, libraries={},
    )  # fmt: skip


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.put(version(1))
    assert registry.get("m", 1) == version(1)
    assert registry.models() == ["m"]


def test_states_follow_the_one_pointer(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    for number in (1, 2, 3):
        registry.put(version(number))
    assert registry.state("m", 1) == "candidate"
    registry.set_champion("m", Champion((1,)))
    registry.set_champion("m", Champion((1, 2)))
    assert [registry.state("m", number) for number in (1, 2, 3)] == ["retired", "champion", "candidate"]
    registry.set_champion("m", Champion((1,), (2,)))
    assert [registry.state("m", number) for number in (1, 2, 3)] == ["champion", "retired", "candidate"]


def test_what_a_killed_training_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.put(version(1))
    registry.set_champion("m", Champion((1,)))
    (tmp_path / "m" / "2").mkdir()
    registry.remove_unfinished("m")
    assert registry.next_version("m") == 2
    assert registry.get("m", 1) == version(1)
    assert registry.champion("m") == Champion((1,))
    assert not (tmp_path / "m" / "2").exists()


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with pytest.raises(RegistryError, match="no model 'x'"):
        registry.versions("x")
    registry.put(version(1))
    with pytest.raises(RegistryError, match="no version 9"):
        registry.get("m", 9)


def test_a_record_of_before_can_be_read(tmp_path: Path) -> None:
    """Fields that came later have defaults."""
    later = {"origin", "baseline", "curves", "checks", "latency_p99_ms", "phases", "inputs_hash", "refused"}
    old = msgspec.to_builtins(version(1))
    for name in later:
        del old[name]
    for part, names in {
        "evaluation": ("brier", "brier_base", "reliability"), "frame": ("positions",), "thresholds": ("by_cost",)
    }.items():  # fmt: skip
        for name in names:
            del old[part][name]
    for name in ("trees", "baseline"):
        del old["recipe"][name]
    old["recipe"]["gate"] = {name: old["recipe"]["gate"][name] for name in ("measure", "margin")}
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "model.json").write_bytes(msgspec.json.encode(old))
    assert Registry(tmp_path).get("m", 1) == version(1)
