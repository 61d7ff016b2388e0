"""Decimals become the nearest float64."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from stream_jobs.offline.floats import float64


@given(st.lists(st.none() | st.integers(-(10**17), 10**17), min_size=1))
def test_each_is_correctly_rounded(cents: list[int | None]) -> None:
    decimals = [None if each is None else Decimal(each) / 100 for each in [*cents, 167745513]]
    wanted = [None if each is None else float(each) for each in decimals]
    assert float64(pa.array(decimals, pa.decimal128(38, 2))).to_pylist() == wanted
