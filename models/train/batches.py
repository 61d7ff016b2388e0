"""Scores of many rows without the memory of all of them at once: trees as products hold some 10 KB a row meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

_ROWS = 8_192
Rows = npt.NDArray[np.float32]


def in_batches(function: Callable[[Rows], npt.NDArray[Any]], x: Rows) -> npt.NDArray[Any]:
    """What ``function`` gives for each row of x [n, k], asked for some thousand rows at a time."""
    return np.concatenate([function(x[start : start + _ROWS]) for start in range(0, max(len(x), 1), _ROWS)])
