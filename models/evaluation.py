"""Judging a model on the later period, as it would have been used.

The protocol is that of Le Borgne et al., *Reproducible Machine Learning for Credit Card Fraud Detection*: from each
test day the rows of subjects (customers) that were known as fraudulent before it are left out.
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from models.errors import TrainingSetError
from models.metrics import Bin, auc_roc, average_precision, brier, reliability, top_precision_by_day
from models.split import DAY_US, Split


class Evaluation(msgspec.Struct, frozen=True):
    """rows, positives: judged. left_out: rows of subjects already known. top_precision: mean over the days.

    brier: mean squared distance of score and outcome, None in records made before it was taken. brier_base: that of
    a model which gives every row the share of positives. reliability: scores against outcomes, ten bins.
    """

    rows: int
    positives: int
    left_out: int
    auc_roc: float
    average_precision: float
    top_precision: float
    top: int
    days: int
    brier: float | None = None
    brier_base: float | None = None
    reliability: tuple[Bin, ...] = ()


def unknown_subjects(
    event_time: npt.NDArray[np.int64],
    known_at: npt.NDArray[np.int64],
    subject: npt.NDArray[np.int64],
    positive: npt.NDArray[np.bool_],
    split: Split,
) -> npt.NDArray[np.bool_]:
    """Rows of the test that are judged, [n]: their subject had no positive since ``train_from`` known by that day."""
    kept = np.zeros(len(event_time), dtype=bool)
    for day in range(split.test_from, split.test_to, DAY_US):
        known = subject[positive & (event_time >= split.train_from) & (known_at < day)]
        of_day = (event_time >= day) & (event_time < min(day + DAY_US, split.test_to))
        kept |= of_day & ~np.isin(subject, known)
    return kept


def evaluate(
    event_time: npt.NDArray[np.int64],
    subject: npt.NDArray[np.int64],
    labels: npt.NDArray[np.int64],
    scores: npt.NDArray[np.floating],
    top: int,
    left_out: int,
) -> Evaluation:
    """Measures over the judged rows, all [n]. Raises TrainingSetError when they hold one class only."""
    positives = int(labels.sum())
    if positives == 0 or positives == len(labels):
        raise TrainingSetError(
            "training.test_one_class",
            f"the test period has {len(labels)} judged rows, {positives} of them positive: both classes are needed",
            hint="choose another period with --train-to, or a longer --test-days",
        )
    days, share = event_time // DAY_US, positives / len(labels)
    shares = top_precision_by_day(days, subject, labels, scores, top)
    return Evaluation(
        rows=len(labels),
        positives=positives,
        left_out=left_out,
        auc_roc=auc_roc(labels, scores),
        average_precision=average_precision(labels, scores),
        top_precision=float(np.mean(shares)),
        top=top,
        days=len(shares),
        brier=brier(labels, scores),
        brier_base=share * (1 - share),
        reliability=tuple(reliability(labels, scores)),
    )
