"""The weights of a version as one file of arrays (no pickle), so that a later one can begin with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from models.train import spec
from models.train.network import Preprocess, Scorer, feed_forward

FILE = "weights.npz"
_TREES = "trees."


def write(scorer: Scorer, folder: Path) -> None:
    """Everything a scorer holds: standardisation, members, calibration."""
    np.savez(folder / FILE, **{name: values.cpu().numpy() for name, values in scorer.state_dict().items()})


def read(path: Path, width: int, network: spec.Network) -> Scorer:
    """The scorer of ``width`` inputs that was written to ``path``, without its trees: those are fitted again.

    Raises RuntimeError when its layers are others.
    """
    preprocess = Preprocess(np.zeros((1, width), np.float32), [False] * width)
    members = [feed_forward(width, network) for _ in range(network.members)]
    scorer = Scorer(preprocess, members, 1.0, 0.0)
    with np.load(path, allow_pickle=False) as stored:
        names = [name for name in stored.files if not name.startswith(_TREES)]
        scorer.load_state_dict({name: torch.from_numpy(stored[name]) for name in names})
    return scorer.eval()
