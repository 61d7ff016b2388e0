"""Background rows: a sample of the past, the same each time, kept beside the golden rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from models import background
from models.errors import TrainingSetError
from models.registry import Registry
from tests.unit.models.test_registry import version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A version with 300 rows, a third of them of the test, whose input is missing."""
    registry = Registry(tmp_path)
    registry.put(version(1))
    part = np.array([0, 1, 2] * 100, np.int8)
    columns = {"a": np.where(part == 2, np.nan, np.arange(300.0)), "part": part}
    parquet.write_table(pa.table(columns), registry.path("m", 1) / "frame.parquet")
    return registry.path("m", 1)


def test_the_rows_are_of_the_past_and_the_same_each_time(folder: Path) -> None:
    found = background.sample(folder, ("a",), 50)
    assert found.array().shape == (50, 1) and not np.isnan(found.array()).any()
    assert found == background.sample(folder, ("a",), 50)


def test_they_are_taken_once_and_kept(folder: Path) -> None:
    first = background.of_version(folder)
    assert len(first.rows) == background.ROWS and first.inputs == ("a",)
    (folder / "frame.parquet").unlink()
    assert background.of_version(folder) == first


def test_a_training_set_that_is_gone_is_said(folder: Path) -> None:
    (folder / "frame.parquet").unlink()
    with pytest.raises(TrainingSetError, match=r"frame\.parquet"):
        background.of_version(folder)
