"""Background rows of a model version: a small sample of its training set, beside its golden rows.

Explanations compare with them. The sample is taken when it is first asked for, by a process of its own (``python -m
models.background FOLDER``), so that the process that asks needs neither Arrow nor the memory of a training set.
"""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import TrainingSetError
from models.split import TEST

FILE = "background.json"
ROWS = 64
_SEED = 7
_SECONDS = 60.0


class Background(msgspec.Struct, frozen=True):
    """rows: [n][k] raw inputs, None where missing."""

    inputs: tuple[str, ...]
    rows: tuple[tuple[float | None, ...], ...]

    def array(self) -> npt.NDArray[np.float32]:
        """float32 [n, k], NaN where missing."""
        return np.array([[math.nan if one is None else one for one in row] for row in self.rows], np.float32)


def of_version(folder: Path) -> Background:
    """Of the version in a folder of the registry. Raises TrainingSetError when its training set cannot be read."""
    path = folder / FILE
    if not path.exists():
        command = ["nice", "-n", "19", sys.executable, "-m", "models.background", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _unreadable(folder, f"no answer within {_SECONDS:.0f} s") from error
        if done.returncode:
            raise _unreadable(folder, done.stderr.strip()[-300:])
    return msgspec.json.decode(path.read_bytes(), type=Background)


def _unreadable(folder: Path, reason: str) -> TrainingSetError:
    return TrainingSetError(
        "training.background", f"no background rows can be taken from the training set in {folder}: {reason}",
        hint="train again: the training set is kept with its version",
    )  # fmt: skip


def sample(folder: Path, inputs: tuple[str, ...], rows: int = ROWS) -> Background:
    """Rows of the past (not of the test), the same ones each time. Raises OSError and pyarrow's errors."""
    import pyarrow.parquet as parquet

    from models.frame import FILE as FRAME

    table = parquet.read_table(folder / FRAME, columns=[*inputs, "part"])
    past = np.flatnonzero(table["part"].to_numpy() != TEST)
    chosen = np.sort(np.random.default_rng(_SEED).choice(past, min(rows, len(past)), replace=False))
    taken = table.take(chosen)
    columns = [[None if math.isnan(one) else float(one) for one in taken[name].to_pylist()] for name in inputs]
    return Background(inputs, tuple(zip(*columns, strict=True)))


def main() -> None:
    from models.registry import ModelVersion

    folder = Path(sys.argv[1])
    record = msgspec.json.decode((folder / "model.json").read_bytes(), type=ModelVersion)
    temporary = folder / f".{FILE}.new"
    temporary.write_bytes(msgspec.json.encode(sample(folder, record.inputs)))
    temporary.rename(folder / FILE)


if __name__ == "__main__":
    main()
