"""Decimals as float64, each correctly rounded."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


def float64(decimals: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """The nearest float64 of each decimal, as ``float("…")`` gives it.

    Through text: Arrow's own cast multiplies by a power of ten, and 1677455.13 becomes 1677455.1300000001.
    """
    return pc.cast(pc.cast(decimals, pa.string()), pa.float64())
