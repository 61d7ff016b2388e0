"""Plots of a version as SVG: loss and average precision by epoch, reliability, precision and recall.

The same numbers give the same files: no date, no random ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from models.metrics import precision_recall, reliability
from models.train.fit import Curve

NAMES = ("loss", "reliability", "precision_recall")
_STYLE = {"svg.hashsalt": "appliance", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
_POINTS = 400
Scores = npt.NDArray[np.floating]


def write(folder: Path, curves: Sequence[Curve], labels: npt.NDArray[np.int64], scores: Mapping[str, Scores]) -> None:
    """``<name>.svg`` of each of ``NAMES``; no loss without curves. labels, scores: of the later period, [n] each."""
    with mpl.rc_context(_STYLE):
        if curves:
            figure = Figure((7, 3), layout="constrained")
            _losses(figure.subplots(1, 2), curves)
            _save(figure, folder / "loss.svg")
        for name, draw in (("reliability", _reliability), ("precision_recall", _precision_recall)):
            figure = Figure((4, 3.2), layout="constrained")
            draw(figure.subplots(), labels, scores)
            _save(figure, folder / f"{name}.svg")


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _losses(axes: Sequence[Axes], curves: Sequence[Curve]) -> None:
    for number, curve in enumerate(curves):
        epochs = np.arange(1, len(curve.fit_loss) + 1)
        colour = f"C{number}"
        axes[0].plot(epochs, curve.fit_loss, colour, label="rows fitted" if not number else None)
        axes[0].plot(epochs, curve.tail_loss, colour, linestyle="--", label="tail" if not number else None)
        axes[1].plot(epochs, curve.tail_average_precision, colour, label=f"network {number + 1}")
    axes[0].set(xlabel="epoch", ylabel="loss")
    axes[1].set(xlabel="epoch", ylabel="average precision on the tail")
    for each in axes:
        each.legend()


def _reliability(axes: Axes, labels: npt.NDArray[np.int64], scores: Mapping[str, Scores]) -> None:
    """Both axes logarithmic: what is looked for is rare."""
    lowest = 1.0
    for name, values in scores.items():
        bins = [each for each in reliability(labels, values) if each.positive_share > 0 and each.mean_score > 0]
        axes.plot([each.mean_score for each in bins], [each.positive_share for each in bins], "o-", ms=3, label=name)
        lowest = min([lowest, *(min(each.mean_score, each.positive_share) for each in bins)])
    axes.plot([lowest, 1], [lowest, 1], "k:", label="perfect")
    axes.set(xscale="log", yscale="log", xlabel="mean score", ylabel="share of positives")
    axes.legend()


def _precision_recall(axes: Axes, labels: npt.NDArray[np.int64], scores: Mapping[str, Scores]) -> None:
    for name, values in scores.items():
        precision, recall = precision_recall(labels, values)
        some = np.unique(np.searchsorted(recall, np.linspace(recall[0], recall[-1], _POINTS)))
        axes.plot(recall[some], precision[some], label=name)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend()
