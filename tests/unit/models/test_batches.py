"""Rows asked for in batches are the rows asked for at once."""

from __future__ import annotations

import numpy as np
import pytest

from models.train.batches import in_batches


@pytest.mark.parametrize("rows", [0, 1, 8_192, 20_001])
def test_the_answer_is_that_of_all_rows_and_no_call_has_more_than_a_batch(rows: int) -> None:
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    sizes = []

    def function(part: np.ndarray) -> np.ndarray:
        sizes.append(len(part))
        return part.sum(axis=1)

    assert np.array_equal(in_batches(function, x), x.sum(axis=1))
    assert max(sizes) <= 8_192 and sum(sizes) == rows
