"""The model registry: one folder a version, one record in each, one pointer to the champion.

``data/models/<model>/<version>/``: ``model.json`` (the record), ``model.onnx``, ``golden.json``, ``frame.parquet`` (the
training set), ``scores.parquet``, plots (``.svg``). ``data/models/<model>/champion.json`` alone says which version
is the champion.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import msgspec

from appliance.parts.base import Context
from models.calibration import Calibration
from models.errors import RegistryError
from models.evaluation import Evaluation
from models.recipe import Recipe
from models.split import Split

State = Literal["candidate", "champion", "retired"]


class Frame(msgspec.Struct, frozen=True):
    """A training set: rows of each part, share of positives, and the versions of the Delta tables it was read from.

    unlabelled: rows of the periods that no answer, or none in time, was there for. positions: of each change table,
    the last position in it when it was read.
    """

    sha256: str
    rows: dict[str, int]
    positives: dict[str, int]
    unlabelled: int
    missing_share: dict[str, float]
    lake_versions: dict[str, int]
    positions: dict[str, str] = {}


class ByCost(msgspec.Struct, frozen=True):
    """The review threshold at which reviews and missed positives together cost least, on the tail, a day.

    cost_without: of looking at nothing. cost_of_policy: with the review threshold of the scenario's policy.
    """

    review: float
    reviews_per_day: float
    cost_per_day: float
    cost_without: float
    cost_of_policy: float


class Thresholds(msgspec.Struct, frozen=True):
    """Suggested for the policy, from the tail of the past.

    review: so many payments a day score above it as can be looked at. decline: None where no score is sure enough.
    by_cost: None where the recipe names no cost of a review.
    """

    review: float
    decline: float | None
    tail_rows_per_day: float
    by_cost: ByCost | None = None


class Curve(msgspec.Struct, frozen=True):
    """A network while its number of epochs was looked for: a value an epoch (``models.train.fit.Curve``)."""

    fit_loss: tuple[float, ...]
    tail_loss: tuple[float, ...]
    tail_average_precision: tuple[float, ...]


class Beside(msgspec.Struct, frozen=True):
    """The baseline: which model, and how it does on the same rows."""

    kind: str
    evaluation: Evaluation


class Check(msgspec.Struct, frozen=True):
    """One of the gate's questions. refusal: why the answer keeps the version back, empty if it does not."""

    name: str
    got: str
    refusal: str = ""


class ModelVersion(msgspec.Struct, frozen=True):
    """Everything known of one version. Times are µs UTC. state is not stored here: see ``Registry.state``.

    torch_onnx_difference, triton_difference: largest distances of scores, on all rows and on the golden rows.
    refused: why the gate did not let it through, empty if it did. inputs_hash: what its inputs mean
    (``stream_jobs.compiler.definition.inputs_hash``); a service with other inputs is not served with it.
    parent: the version that this one is an update of, 0 for one trained from nothing. labels_until: of an update, since
    when the newest label is known that it was made of. origin: "trained" here, or "imported". checks: all that the gate
    asked. latency_p99_ms: of calls with one row, in Triton. phases: seconds of each part of the training.
    """

    model: str
    version: int
    service: str
    created_at: int
    definition_hash: str
    inputs: tuple[str, ...]
    recipe: Recipe
    seed: int
    split: Split
    frame: Frame
    evaluation: Evaluation
    thresholds: Thresholds
    calibration: Calibration
    epochs: tuple[int, ...]
    torch_onnx_difference: float
    triton_difference: float
    model_sha256: str
    device: str
    train_seconds: float
    libraries: dict[str, str]
    refused: str = ""
    inputs_hash: str = ""
    parent: int = 0
    labels_until: int = 0
    origin: str = "trained"
    baseline: Beside | None = None
    curves: tuple[Curve, ...] = ()
    checks: tuple[Check, ...] = ()
    latency_p99_ms: float | None = None
    phases: dict[str, float] = {}

    @property
    def learned_until(self) -> int:
        """Labels known up to then it was fitted on; later ones are news to it."""
        return self.labels_until or self.split.test_from


class Champion(msgspec.Struct, frozen=True):
    """history: versions that have been champion, the present one last. withdrawn: those that were rolled back."""

    history: tuple[int, ...]
    withdrawn: tuple[int, ...] = ()

    @property
    def version(self) -> int:
        return self.history[-1]


class Registry:
    """The models in one folder. Only whoever holds the lock (``models.pipeline``) writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, context: Context) -> Registry:
        return cls(context.data("models"))

    def models(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith("."))

    def path(self, model: str, version: int) -> Path:
        return self.folder / model / str(version)

    def versions(self, model: str) -> list[ModelVersion]:
        """Oldest first. Raises RegistryError when there is none."""
        numbers = self.numbers(model)
        if not numbers:
            raise RegistryError(
                "model.unknown",
                f"there is no model {model!r}; there are {self.models()}",
                hint="appliance model train SERVICE",
            )
        return [self.get(model, number) for number in numbers]

    def numbers(self, model: str) -> list[int]:
        """Of the versions there are, in order."""
        return sorted(int(path.parent.name) for path in (self.folder / model).glob("*/model.json"))

    def get(self, model: str, version: int) -> ModelVersion:
        """Raises RegistryError when the version is not there."""
        path = self.path(model, version) / "model.json"
        if not path.exists():
            raise RegistryError(
                "model.no_version",
                f"model {model!r} has no version {version}; there are {self.numbers(model)}",
                hint=f"appliance model list {model}",
            )
        return msgspec.json.decode(path.read_bytes(), type=ModelVersion)

    def put(self, record: ModelVersion) -> None:
        """Store a version's record, replacing one that is there, in one step."""
        folder = self.path(record.model, record.version)
        folder.mkdir(parents=True, exist_ok=True)
        _replace(folder / "model.json", msgspec.json.format(msgspec.json.encode(record), indent=1))

    def next_version(self, model: str) -> int:
        """A number no version has."""
        return max(self.numbers(model), default=0) + 1

    def remove_unfinished(self, model: str) -> None:
        """Remove what a training that was killed has left: folders of versions without a record."""
        for path in (self.folder / model).glob("*/"):
            if path.name.isdigit() and not (path / "model.json").exists():
                shutil.rmtree(path)

    def champion(self, model: str) -> Champion | None:
        path = self.folder / model / "champion.json"
        return msgspec.json.decode(path.read_bytes(), type=Champion) if path.exists() else None

    def set_champion(self, model: str, champion: Champion) -> None:
        _replace(self.folder / model / "champion.json", msgspec.json.encode(champion))

    def state(self, model: str, version: int) -> State:
        champion = self.champion(model)
        if champion is None:
            return "candidate"
        if version == champion.version:
            return "champion"
        return "retired" if version in champion.history + champion.withdrawn else "candidate"


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_bytes(content)
    temporary.rename(path)
