"""What a candidate must show before it may serve."""

from __future__ import annotations

from appliance.golden import TOLERANCE
from models.errors import GateError
from models.evaluation import Evaluation
from models.recipe import Gate


def check_equal(torch_onnx_difference: float) -> None:
    """Raises GateError when the exported model is not the trained one."""
    if not torch_onnx_difference <= TOLERANCE:
        raise GateError(
            "gate.different",
            f"onnxruntime is {torch_onnx_difference:.2g} away from torch, allowed are {TOLERANCE:.2g}",
        )


def refusal(gate: Gate, candidate: Evaluation, champion: Evaluation) -> str:
    """Why the candidate must not take the champion's place; empty if it may."""
    new, old = getattr(candidate, gate.measure), getattr(champion, gate.measure)
    if new >= old - gate.margin:
        return ""
    return f"{gate.measure} is {new:.4f}, the champion has {old:.4f}: worse by more than the margin of {gate.margin:g}"
