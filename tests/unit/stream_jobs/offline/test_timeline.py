"""Which rows a timeline leaves out."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stream_jobs.offline.timeline import Timeline

_ROWS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(0, 30)), max_size=60)


def _line(rows: list[tuple[int, int, int]]) -> Timeline:
    code, event, visible = np.array(rows or np.empty((0, 3)), np.int64).T
    return Timeline(code, event, visible, 3)


@given(rows=_ROWS)
def test_what_is_kept_became_visible_in_the_order_of_its_event_times(rows: list[tuple[int, int, int]]) -> None:
    out = set(_line(rows).left_out.tolist())
    kept = sorted(row for place, row in enumerate(rows) if place not in out)
    for before, after in itertools.pairwise(kept):
        assert before[0] != after[0] or before[2] <= after[2]


@given(rows=_ROWS)
def test_nothing_is_left_out_of_rows_in_order(rows: list[tuple[int, int, int]]) -> None:
    assert not len(_line([(code, event, event) for code, event, _ in rows]).left_out)


def test_a_late_row_takes_only_its_neighbour_with_it() -> None:
    rows = [(0, event, event) for event in range(1000)]
    rows[500] = (0, 500, 5000)
    assert _line(rows).left_out.tolist() == [500, 501]
