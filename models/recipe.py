"""The recipe of a service's model: written by the scenario's author as ``recipe.toml``, read here."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal

import msgspec

from models.errors import RecipeError
from models.learning.limits import Learning

Measure = Literal["average_precision", "auc_roc"]


class Label(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where answers come from: a captured table with one row for each event that has one."""

    table: str
    key: str
    value: str
    known_at: str


class Periods(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lengths in days: past (with its tail) → gap → later."""

    train_days: int = 7
    gap_days: int = 7
    test_days: int = 7
    tail_days: int = 1


class Inputs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """log: inputs whose logarithm the model takes."""

    log: tuple[str, ...] = ()


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See ``models.train.spec.Network``."""

    hidden: tuple[int, ...] = (64, 32)
    dropout: float = 0.2
    members: int = 3


class Fit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See ``models.train.spec.Fit``."""

    learning_rate: float = 0.002
    weight_decay: float = 0.0001
    batch_rows: int = 512
    max_epochs: int = 30
    patience_epochs: int = 4
    positive_weight: float = 1.0


class Evaluation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """subject: the column of the event that is left out once it is known. top: subjects looked at in a day."""

    subject: str
    top: int = 100


class Gate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A candidate worse than the champion by more than ``margin`` in ``measure`` is not promoted."""

    measure: Measure = "average_precision"
    margin: float = 0.02


class PolicyHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """decline_precision: wanted share of positives among what is declined, for the suggested threshold."""

    decline_precision: float = 0.9


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a model that belongs to the scenario and not to the engine."""

    label: Label
    evaluation: Evaluation
    periods: Periods = Periods()
    inputs: Inputs = Inputs()
    network: Network = Network()
    fit: Fit = Fit()
    gate: Gate = Gate()
    policy: PolicyHints = PolicyHints()
    learning: Learning = Learning()


def read(path: Path) -> Recipe:
    """Raises RecipeError that names the file and the first field that does not fit."""
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), Recipe)
    except FileNotFoundError as error:
        raise RecipeError(
            "recipe.missing", f"there is no recipe at {path}", hint="write one as feature_repo/card_fraud/recipe.toml"
        ) from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise RecipeError("recipe.invalid", f"{path}: {error}", hint="docs/models.md lists every field") from error
