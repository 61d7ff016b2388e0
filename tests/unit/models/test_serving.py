"""What Triton is told of a model, and what counts as the right answer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from appliance import golden
from appliance.golden import Golden
from models.serving import config_pbtxt

_ROWS = Golden("m", "2", ((1.0, None), (2.0, 3.0)), (0.25, 0.5))


def test_the_config_names_the_one_version_and_the_stock_backend() -> None:
    text = config_pbtxt("m", 15, "3")
    assert 'platform: "onnxruntime_onnx"' in text
    assert "dims: [ 15 ]" in text
    assert "version_policy: { specific: { versions: [ 3 ] } }" in text
    assert text.count("{") == text.count("}")


def test_golden_rows_come_back_with_missing_as_nan(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    golden.write(_ROWS, tmp_path / "m")
    (read,) = golden.in_repository(tmp_path)
    assert read == _ROWS
    assert math.isnan(read.inputs()[0][1])


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([0.25, 0.5], 0.0), ([0.25, 0.6], 0.1), ([0.25], math.inf), ([0.25, math.nan], math.inf), ([], math.inf)],
)
def test_distance_from_golden_scores(scores: list[float], expected: float) -> None:
    assert golden.difference(scores, _ROWS) == pytest.approx(expected)
