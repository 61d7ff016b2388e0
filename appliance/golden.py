"""Golden rows: real inputs of a model with the scores that training computed for them.

``golden.json`` stands beside a model's ``config.pbtxt`` in Triton's repository, so that readiness, the watch and the
deployment can ask for a right answer and need to know nothing else of the model.
"""

from __future__ import annotations

import math
from pathlib import Path

import msgspec

from appliance.clients.triton_repository import TritonRepository
from appliance.errors import NotReadyError

FILE = "golden.json"
TOLERANCE = 1e-5
"""Largest distance between torch's, onnxruntime's and Triton's score of a row."""


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """rows: [n][k] feature values, None where missing. scores: [n]. tolerance: largest allowed difference."""

    model: str
    version: str
    rows: tuple[tuple[float | None, ...], ...]
    scores: tuple[float, ...]
    tolerance: float = TOLERANCE

    def inputs(self) -> list[list[float]]:
        """Rows as the model takes them: NaN where missing."""
        return [[math.nan if value is None else value for value in row] for row in self.rows]


def read(folder: Path) -> Golden:
    """Golden rows of the model in ``folder``."""
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Golden)


def write(golden: Golden, folder: Path) -> None:
    """Replace the model's golden rows in one step."""
    temporary = folder / f".{FILE}.new"
    temporary.write_bytes(msgspec.json.encode(golden))
    temporary.rename(folder / FILE)


def in_repository(repository: Path) -> list[Golden]:
    """Golden rows of every model in Triton's repository."""
    return [read(path.parent) for path in sorted(repository.glob(f"*/{FILE}"))]


def check(triton: TritonRepository, golden: Golden) -> float:
    """Score the golden rows; the largest difference. Raises NotReadyError when version or a score is wrong."""
    scores, version = triton.infer(golden.model, golden.inputs())
    if version != golden.version:
        raise NotReadyError(
            "triton.wrong_version",
            f"Triton serves version {version} of {golden.model}, expected {golden.version}",
            hint="appliance model list",
        )
    worst = difference(scores, golden)
    if not worst <= golden.tolerance:
        raise NotReadyError(
            "triton.wrong_answer",
            f"{golden.model} version {version} is {worst:.2g} away from its golden scores, "
            f"allowed are {golden.tolerance:.2g}",
            hint="appliance model rollback, appliance logs triton",
        )
    return worst


def difference(scores: list[float], golden: Golden) -> float:
    """Largest distance from the golden scores; infinite when their number differs or one is not a number."""
    if len(scores) != len(golden.scores) or any(math.isnan(score) for score in scores):
        return math.inf
    return max(abs(got - expected) for got, expected in zip(scores, golden.scores, strict=True))
