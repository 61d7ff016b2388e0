"""Histograms of steps, as Prometheus reads them."""

from __future__ import annotations

from gateway import waterfall
from gateway.waterfall import BOUNDS_US, Waterfall
from tests.unit.gateway.example import prediction


def test_buckets_are_cumulative_and_every_value_is_in_one() -> None:
    figures = Waterfall()
    figures.note("orders", "http", {"model": 50, "queue": 51}, rows=3)
    figures.note("orders", "http", {"model": BOUNDS_US[-1] + 1})
    figures.note_predictions([prediction(way="kafka")])
    text = waterfall.prometheus(figures.steps())
    model = 'service="orders",way="http",step="model"'
    assert f'appliance_scoring_step_seconds_bucket{{{model},le="5e-05"}} 3' in text
    assert f'appliance_scoring_step_seconds_bucket{{{model},le="1"}} 3' in text
    assert f'appliance_scoring_step_seconds_bucket{{{model},le="+Inf"}} 4' in text
    assert f"appliance_scoring_step_seconds_count{{{model}}} 4" in text
    assert f"appliance_scoring_step_seconds_sum{{{model}}} {(150 + BOUNDS_US[-1] + 1) / 1e6}" in text
    assert 'way="http",step="queue",le="5e-05"} 0' in text
    assert 'way="kafka",step="model",le="0.0005"} 1' in text
