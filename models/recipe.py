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


class Trees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """See ``models.train.spec.Trees``."""

    count: int = 0
    learning_rate: float = 0.05
    leaves: int = 8
    l2: float = 1.0
    share: float = 0.5
    quotients: tuple[tuple[str, str], ...] = ()
    products: tuple[tuple[str, str], ...] = ()


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
    """What a version must show before it may serve.

    measure, margin: it may be worse than the champion by so much. *_floor: never less than this on the later period,
    champion or not. brier_skill_floor: 1 - Brier score / that of always saying the share of positives; above 0 means
    that its probabilities tell something. latency_p99_ms: of a call with one row, in Triton.
    """

    measure: Measure = "average_precision"
    margin: float = 0.02
    average_precision_floor: float = 0.0
    auc_roc_floor: float = 0.5
    top_precision_floor: float = 0.0
    brier_skill_floor: float = 0.0
    latency_p99_ms: float = 50.0


class PolicyHints(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """decline_precision: wanted share of positives among what is declined, for the suggested threshold.

    review_cost: of looking at one row, in the unit of ``amount``, the input that says what a missed positive costs,
    times ``missed_share``. Without a review_cost no threshold by cost is suggested.
    """

    decline_precision: float = 0.9
    review_cost: float | None = None
    missed_share: float = 1.0
    amount: str = "amount"


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The model of scikit-learn that is trained beside the network and judged on the same rows."""

    kind: Literal["gradient_boosting", "logistic_regression", "none"] = "gradient_boosting"


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything about a model that belongs to the scenario and not to the engine."""

    label: Label
    evaluation: Evaluation
    periods: Periods = Periods()
    inputs: Inputs = Inputs()
    network: Network = Network()
    trees: Trees = Trees()
    fit: Fit = Fit()
    gate: Gate = Gate()
    policy: PolicyHints = PolicyHints()
    learning: Learning = Learning()
    baseline: Baseline = Baseline()


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
