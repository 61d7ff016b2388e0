"""Recipes: the scenario's own is valid, a wrong one is refused by field."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import pipeline, recipe
from models.errors import RecipeError


def test_the_card_fraud_recipe_can_be_read() -> None:
    read = pipeline.read_recipe("card_fraud")
    assert read.label.table == "public.transaction_labels"
    assert read.periods.tail_days < read.periods.train_days


def test_an_unknown_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[label]\ntable="t"\nkey="k"\nvalue="v"\nknown_at="a"\n[evaluation]\nsubject="s"\n[fit]\nepochs=3\n'
    )
    with pytest.raises(RecipeError, match="epochs"):
        recipe.read(path)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no recipe"):
        recipe.read(tmp_path / "recipe.toml")
