"""The split in time: past (fit, then tail) → gap → later. All times are int64 µs UTC, every period [start, end)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from models.errors import TrainingSetError
from models.recipe import Periods

DAY_US = 86_400_000_000
FIT, TAIL, TEST, UNUSED = 0, 1, 2, -1
"""As in ``models.train.spec``, which cannot be imported here."""
Times = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The tail is the end of the past: [tail_from, train_to)."""

    train_from: int
    tail_from: int
    train_to: int
    test_from: int
    test_to: int

    def parts(self, event_time: Times, known_at: Times, labelled: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
        """FIT, TAIL, TEST or UNUSED of each row, [n].

        A past row is used only if its label was known when the test begins: that is when the model could be made.
        """
        parts = np.full(len(event_time), UNUSED, dtype=np.int8)
        known = labelled & (known_at <= self.test_from)
        parts[(event_time >= self.train_from) & (event_time < self.tail_from) & known] = FIT
        parts[(event_time >= self.tail_from) & (event_time < self.train_to) & known] = TAIL
        parts[(event_time >= self.test_from) & (event_time < self.test_to) & labelled] = TEST
        return parts


def make(periods: Periods, train_from: int | None, train_to: int | None, last_event: int) -> Split:
    """The split that is asked for.

    train_from, train_to: None takes the latest one whose answers can all be there: the test ends a gap before the
    day of ``last_event``. Raises TrainingSetError when the periods do not fit one another.
    """
    if min(periods.train_days, periods.test_days, periods.tail_days) < 1 or periods.gap_days < 0:
        raise TrainingSetError(
            "training.periods", f"periods must be at least 1 day and the gap at least 0 days, got {periods}"
        )
    if train_to is None:
        if train_from is not None:
            train_to = train_from + periods.train_days * DAY_US
        else:
            today = last_event // DAY_US * DAY_US
            train_to = today - (2 * periods.gap_days + periods.test_days) * DAY_US
    if train_from is None:
        train_from = train_to - periods.train_days * DAY_US
    tail_from = train_to - periods.tail_days * DAY_US
    if tail_from <= train_from:
        raise TrainingSetError(
            "training.periods",
            f"the training period has {(train_to - train_from) / DAY_US:g} days, "
            f"its tail alone {periods.tail_days}: nothing is left to fit",
            hint="choose an earlier --train-from",
        )
    test_from = train_to + periods.gap_days * DAY_US
    return Split(train_from, tail_from, train_to, test_from, test_from + periods.test_days * DAY_US)
