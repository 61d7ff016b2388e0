"""What a version must show before it may serve."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.golden import TOLERANCE
from models.errors import GateError
from models.evaluation import Evaluation
from models.recipe import Gate
from models.registry import Check, ModelVersion

_FLOORS = ("average_precision", "auc_roc", "top_precision")


@dataclass(frozen=True)
class Trial:
    """What was measured in Triton before anything was served.

    held_out_difference: largest distance from onnxruntime on rows of the later period. latency_p99_ms: of calls with
    one row, one after the other.
    """

    golden_difference: float
    held_out_difference: float
    held_out_rows: int
    latency_p99_ms: float


def check_equal(torch_onnx_difference: float) -> None:
    """Raises GateError when the exported model is not the trained one."""
    if not torch_onnx_difference <= TOLERANCE:
        raise GateError(
            "gate.different",
            f"onnxruntime is {torch_onnx_difference:.2g} away from torch, allowed are {TOLERANCE:.2g}",
        )


def checks(gate: Gate, candidate: Evaluation, trial: Trial, champion: Evaluation | None) -> tuple[Check, ...]:
    """Every question and its answer. champion: of the version that serves, on the same rows; None for the first one."""
    made = [*in_triton(gate, trial), *_floors(gate, candidate)]
    if champion is not None:
        made.append(not_worse(gate, candidate, champion))
    return tuple(made)


def refusal(made: Sequence[Check]) -> str:
    """Why the version must not serve, every reason; empty if it may."""
    return "; ".join(check.refusal for check in made if check.refusal)


def in_triton(gate: Gate, trial: Trial) -> tuple[Check, ...]:
    """What is asked of every version, however it was made and judged."""
    return _equal(trial), _latency(gate, trial)


def _equal(trial: Trial) -> Check:
    difference = trial.held_out_difference
    got = f"{difference:.1e} on {trial.held_out_rows} rows of the later period"
    if difference <= TOLERANCE:
        return Check("Triton = onnxruntime", got)
    return Check("Triton = onnxruntime", got, f"Triton is {got} away from onnxruntime, allowed are {TOLERANCE:.0e}")


def _latency(gate: Gate, trial: Trial) -> Check:
    got = f"p99 {trial.latency_p99_ms:.2f} ms a call with one row"
    if trial.latency_p99_ms <= gate.latency_p99_ms:
        return Check("latency", got)
    return Check("latency", got, f"{got}, allowed are {gate.latency_p99_ms:g} ms (gate.latency_p99_ms of the recipe)")


def _floors(gate: Gate, candidate: Evaluation) -> list[Check]:
    figures = {f"{name}_floor": float(getattr(candidate, name)) for name in _FLOORS}
    if candidate.brier is not None and candidate.brier_base:
        figures["brier_skill_floor"] = 1 - candidate.brier / candidate.brier_base
    made = []
    for name, value in figures.items():
        measure, floor = name.removesuffix("_floor"), float(getattr(gate, name))
        low = "" if value >= floor else f"{measure} is {value:.4f}, the recipe's floor is {floor:g}"
        made.append(Check(f"{measure} ≥ {floor:g}", f"{value:.4f}", low))
    return made


def not_worse(gate: Gate, candidate: Evaluation, champion: Evaluation) -> Check:
    """Both evaluations are of the same rows."""
    new, old = float(getattr(candidate, gate.measure)), float(getattr(champion, gate.measure))
    name, got = f"{gate.measure} not worse than the champion", f"{new:.4f}, the champion has {old:.4f}"
    if new >= old - gate.margin:
        return Check(name, got)
    return Check(name, got, f"{gate.measure} is {got}: worse by more than the margin of {gate.margin:g}")


def check_schema(record: ModelVersion, inputs: tuple[str, ...], inputs_hash: str) -> None:
    """Raises GateError when the service gives its model other inputs than the version takes, by force or not."""
    if record.inputs != inputs:
        pairs = zip((*record.inputs, None), (*inputs, None), strict=False)
        place, (got, wanted) = next((n, pair) for n, pair in enumerate(pairs, 1) if pair[0] != pair[1])
        raise GateError(
            "gate.inputs",
            f"version {record.version} of {record.model} takes {got or 'nothing more'} as input {place}, "
            f"the service gives {wanted or 'nothing more'}",
            hint=f"appliance model train {record.service}",
        )
    if record.inputs_hash and record.inputs_hash != inputs_hash:
        raise GateError(
            "gate.definition",
            f"version {record.version} of {record.model} was made for inputs of these names that meant something else",
            context={"version": record.inputs_hash, "service": inputs_hash},
            hint=f"appliance model train {record.service}; appliance features list",
        )
