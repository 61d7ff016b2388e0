"""The algebra gives what brute force gives, for every function, over random histories."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.records import Edit
from stream_jobs.windows.assemble import Windows, assemble
from stream_jobs.windows.edits import batch, halves
from stream_jobs.windows.fold import fold, up_to
from tests.unit.stream_jobs.windows import brute_force
from tests.unit.stream_jobs.windows.logs import COLUMNS, CUTS, ENTITIES, FEATURES, TIMES, histories

WINDOWS = Windows(COLUMNS, FEATURES)


def computed(reads: list[tuple[list[Edit], str, int]]) -> dict[str, list[object]]:
    """Feature → values of several reads (log, cut, as of), all in one call."""
    edits = [edit for log, _, _ in reads for edit in log]
    group = np.repeat(np.arange(len(reads)), [len(log) for log, _, _ in reads])
    columns = batch(COLUMNS, edits, integer_ids=True)
    cuts = np.array([halves(cut) for _, cut, _ in reads], np.uint64)
    live = fold(columns, group, up_to(columns, cuts[group, 0], cuts[group, 1]))
    return assemble(WINDOWS, columns, group, live, np.array([as_of for _, _, as_of in reads], np.int64))


def same(got: object, wanted: object, function: str) -> bool:
    """Equal, type and all; only a standard deviation may differ in its last digits."""
    if function == "std" and isinstance(got, float) and isinstance(wanted, float):
        return math.isclose(got, wanted, rel_tol=1e-9, abs_tol=1e-9)
    return got == wanted and (got is None) == (wanted is None) and isinstance(got, bool) == isinstance(wanted, bool)


@settings(max_examples=100, deadline=None)
@given(histories(), st.lists(st.tuples(st.sampled_from(ENTITIES), CUTS, TIMES), min_size=1, max_size=5))
def test_every_function_of_many_reads_at_once(
    history: dict[str, list[Edit]], reads: list[tuple[str, str, int]]
) -> None:
    values = computed([(history[entity], cut, as_of) for entity, cut, as_of in reads])
    for place, (entity, cut, as_of) in enumerate(reads):
        for feature in FEATURES:
            wanted = brute_force.value(history[entity], cut, as_of, feature, list(COLUMNS))
            got = values[feature.name][place]
            assert same(got, wanted, feature.function), (feature, got, wanted)


@settings(max_examples=40, deadline=None)
@given(histories(), st.randoms(use_true_random=False), CUTS, TIMES)
def test_order_and_repeats_change_nothing(history: dict[str, list[Edit]], random, cut: str, as_of: int) -> None:
    log = history["a"]
    again = log + log
    random.shuffle(again)
    assert computed([(log, cut, as_of)]) == computed([(again, cut, as_of)])


def test_times_without_end_do_not_wrap_round() -> None:
    """PostgreSQL's -infinity and infinity arrive as times near the ends of int64."""
    begin, end = -(2**63) + 1, 2**63 - 1
    log = [Edit(1, f"{n:032x}", 0, "a", str(n), at) for n, at in enumerate((begin, 0, end), start=1)]
    reads = [(log, "f" * 32, at) for at in (begin, 5, end)]
    counts = computed(reads)["None_count_7_None"]
    wanted = [brute_force.value(log, cut, at, FEATURES[2], list(COLUMNS)) for log, cut, at in reads]
    assert counts == wanted == [1, 1, 1]
