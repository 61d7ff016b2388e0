"""A model version's scores again: the registry's file, in the Triton that serves, under a name of its own."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from appliance.clients.triton import TritonClient
from appliance.golden import FILE, Golden
from appliance.parts.base import Context
from models.errors import RegistryError
from models.registry import ModelVersion, Registry
from models.serving import Serving

Array = npt.NDArray[np.float32]

PURPOSE = "replay"
TOLERANCE = 1e-6
"""Distance within which scores count as equal. onnxruntime adds up a matrix product in another order for another
number of rows, and how many rows Triton put together for a prediction is not logged: a single row is asked for alone
too, and a difference that is left is the last bits of a float32 (2^-24 = 6e-8 below a score of 1)."""


@dataclass(frozen=True)
class Version:
    """One version in the registry. sha256: of the file that is there now, "" if it is gone."""

    record: ModelVersion
    sha256: str


def version(context: Context, model: str, number: str) -> Version | None:
    """A version as the registry has it; None if it does not."""
    registry = Registry.of(context)
    try:
        record = registry.get(model, int(number))
    except (RegistryError, ValueError):
        return None
    path = registry.path(model, record.version) / "model.onnx"
    return Version(record, hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "")


def equal(expected: float, got: float) -> tuple[bool, bool]:
    """Whether two scores count as equal, and whether they are the same float32 to the bit."""
    same = np.float32(expected).tobytes() == np.float32(got).tobytes()
    return same or abs(expected - got) <= TOLERANCE, same


@contextmanager
def model(context: Context, record: ModelVersion) -> Iterator[Model]:
    """The version, loaded beside the one that serves. One replay at a time: a second one waits.

    Raises DeploymentError when Triton does not load it, or it does not give its golden scores.
    """
    folder = Registry.of(context).path(record.model, record.version)
    rows = msgspec.json.decode((folder / FILE).read_bytes(), type=Golden)
    with (context.run(PURPOSE) / "lock").open("w") as lock, TritonClient.of(context) as client:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Serving.of(context).lent(rows, folder / "model.onnx", PURPOSE) as lent:
            yield Model(client, lent.name)


@dataclass(frozen=True)
class Model:
    """A version that can be asked. name: what Triton knows it by."""

    client: TritonClient
    name: str

    def scores(self, tensor: Array, logged: Array) -> Array:
        """float32 [n] scores of [n, k]: all together, and those that are not ``logged`` to the bit once more alone.

        Raises TritonUnavailableError and TritonModelError.
        """
        found = self.client.infer(self.name, tensor)[0].astype(np.float32)
        for row in np.flatnonzero(found.view(np.uint32) != logged.view(np.uint32)):
            alone = self.client.infer(self.name, tensor[row : row + 1])[0].astype(np.float32)
            if abs(float(alone[0]) - float(logged[row])) <= abs(float(found[row]) - float(logged[row])):
                found[row] = alone[0]
        return found
