"""``python -m models.train.adopt SPEC.json FILE.onnx``: a model made elsewhere, in the shape that is served.

Its one input becomes ``features`` [n, k] float32, its probability of the positive class ``score`` [n, 1]; what it
computes is not touched. Files and progress as those of ``models.train``. A model that does not fit ends with status 3
and an event ``refused`` that says why.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from models.train import calibrate, device, export, spec
from models.train.batches import in_batches
from models.train.finish import Made, finish, say
from models.train.phases import Phases

REFUSED = 3
_FLOATS: dict[int, type[np.floating]] = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
_SHOWN = 3


class RefusedError(Exception):
    """The file cannot be served; the message says why and what to change."""


def _dims(value: onnx.ValueInfoProto) -> list[int | None]:
    """Sizes of a tensor, None where they are open."""
    return [each.dim_value if each.HasField("dim_value") else None for each in value.type.tensor_type.shape.dim]


def _input(model: onnx.ModelProto, width: int) -> onnx.ValueInfoProto:
    constants = {each.name for each in model.graph.initializer}
    inputs = [each for each in model.graph.input if each.name not in constants]
    if len(inputs) != 1:
        raise RefusedError(
            f"the model has {len(inputs)} inputs {[each.name for each in inputs]}, expected one, [None, {width}]"
        )
    kind, dims = inputs[0].type.tensor_type.elem_type, _dims(inputs[0])
    if kind not in _FLOATS:
        raise RefusedError(f"input {inputs[0].name!r} has elements {TensorProto.DataType.Name(kind)}, expected FLOAT")
    if len(dims) != 2 or dims[1] not in (width, None):
        raise RefusedError(
            f"input {inputs[0].name!r} has the shape {dims}, expected [None, {width}]: the recipe's inputs"
        )
    if dims[0] is not None:
        raise RefusedError(f"input {inputs[0].name!r} takes exactly {dims[0]} rows, expected any number (None)")
    return inputs[0]


def _output(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The last output of float numbers: scikit-learn's converter gives the label first, then probabilities."""
    for value in reversed(model.graph.output):
        if value.type.HasField("sequence_type"):
            raise RefusedError(
                f"output {value.name!r} is a list of dictionaries, expected a tensor of probabilities: "
                'convert with options={"zipmap": False}'
            )
        if value.type.tensor_type.elem_type in _FLOATS:
            return value
    raise RefusedError(f"no output of {[value.name for value in model.graph.output]} holds float numbers")


def adopt(model: onnx.ModelProto, width: int) -> onnx.ModelProto:
    """The model with input ``features`` [n, width] and output ``score`` [n, 1]. Raises RefusedError."""
    given, found = _input(model, width), _output(model)
    dims = _dims(found)
    columns = dims[1] if len(dims) > 1 else 1
    if columns not in (1, 2):
        raise RefusedError(
            f"output {found.name!r} has {columns} columns, expected 1 (the probability of the positive class) or 2"
        )
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    before = [helper.make_node("Cast", ["features"], [given.name], to=given.type.tensor_type.elem_type)]
    last = numpy_helper.from_array(np.array([columns - 1], np.int64), "appliance_column")
    shape = numpy_helper.from_array(np.array([-1, 1], np.int64), "appliance_shape")
    after = []
    picked = found.name
    if columns == 2:
        after.append(helper.make_node("Gather", [picked, last.name], ["appliance_picked"], axis=1))
        picked = "appliance_picked"
    after += [
        helper.make_node("Reshape", [picked, shape.name], ["appliance_score"]),
        helper.make_node("Cast", ["appliance_score"], ["score"], to=TensorProto.FLOAT),
    ]
    nodes = [*before, *graph.node, *after]
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend([last, shape])
    kept = [each for each in graph.input if each.name != given.name]
    del graph.input[:]
    graph.input.extend([helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", width]), *kept])
    graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, ["rows", 1]))
    export.strip(made)
    made.ir_version = min(made.ir_version, export.IR_VERSION)
    onnx.checker.check_model(made, full_check=True)
    return made


def _as_it_came(model: onnx.ModelProto, x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Scores [n] of the file itself."""
    given, found = _input(model, x.shape[1]), _output(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    kind = _FLOATS[given.type.tensor_type.elem_type]

    def scores(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        (values,) = session.run([found.name], {given.name: rows.astype(kind)})
        return np.asarray(values, np.float32).reshape(len(rows), -1)[:, -1]

    return in_batches(scores, x)


def _check(scores: npt.NDArray[np.float32], data: spec.Arrays, inputs: list[str]) -> None:
    wrong = ~((scores >= 0) & (scores <= 1))
    if not wrong.any():
        return
    missing = [name for name, share in zip(inputs, np.isnan(data.x[wrong]).mean(0), strict=True) if share > 0]
    hint = f"; inputs {missing} are missing (NaN) in those rows: the model must take that" if missing else ""
    raise RefusedError(
        f"{int(wrong.sum())} of {len(scores)} scores are no probability: {scores[wrong][:_SHOWN].tolist()} …{hint}"
    )


def _made(told: spec.Spec, file: Path, data: spec.Arrays) -> Made:
    """Write ``model.onnx`` and ask it. Raises RefusedError."""
    try:
        model = onnx.load(file)
        onnx.checker.check_model(model)
        path = told.folder / "model.onnx"
        path.write_bytes(adopt(model, len(told.inputs)).SerializeToString(deterministic=True))
        scores = export.onnx_scores(path, data.x)
        reference = _as_it_came(model, data.x)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise RefusedError(f"the file is no valid ONNX model: {error}") from error
    except DecodeError as error:
        raise RefusedError(f"the file is no valid ONNX model: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):
            raise RefusedError(f"onnxruntime cannot run the file: {error}") from error
        raise
    _check(scores, data, told.inputs)
    tail = scores[data.part == spec.TAIL].astype(np.float64)
    return Made(reference, scores, tail, calibrate.Calibration(1.0, 0.0), "cpu")


def main() -> int:
    told, file = spec.read(Path(sys.argv[1])), Path(sys.argv[2])
    device.deterministic(told.threads)
    phases = Phases("cpu")
    with phases.of("read"):
        data = spec.arrays(told)
    say("read", rows=len(data.y), inputs=len(told.inputs))
    try:
        with phases.of("adopt"):
            made = _made(told, file, data)
    except RefusedError as error:
        say("refused", why=str(error))
        return REFUSED
    say("adopted", difference=made.difference)
    finish(told, data, made, phases)
    return 0


if __name__ == "__main__":
    sys.exit(main())
