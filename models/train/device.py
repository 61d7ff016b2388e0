"""The processor a training runs on: which one, how numbers get there, and in what precision it computes."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_PINNED_ROWS = 1 << 18
"""Rows of one transfer: 16 MiB at 15 inputs, of which two lie in pinned memory."""


def choose(asked: str) -> str:
    """ "auto": the GPU where there is one, else the CPU."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if asked == "auto" else asked


def deterministic(threads: int) -> None:
    """The same seed gives the same model on the same kind of machine."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)


def limit_memory(where: str, share: float) -> None:
    """What others have on the GPU stays theirs: a larger share raises torch's out-of-memory error here, not there."""
    if where == "cuda":
        torch.cuda.set_per_process_memory_fraction(share)


@dataclass(frozen=True)
class Precision:
    """Mixed precision where ``dtype`` is set: matrix products in it, weights and their sums in float32."""

    where: str
    dtype: torch.dtype | None

    @classmethod
    def of(cls, where: str, asked: str) -> Precision:
        """asked: "float32", "bfloat16", "float16", or "auto": float32 on the CPU, on a GPU what it does fast."""
        if asked == "auto":
            if where != "cuda":
                return cls(where, None)
            return cls(where, torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)
        return cls(where, None if asked == "float32" else getattr(torch, asked))

    def cast(self) -> AbstractContextManager[object]:
        return nullcontext() if self.dtype is None else torch.autocast(self.where, self.dtype)

    def scaler(self) -> torch.amp.GradScaler:
        """Keeps small gradients from becoming 0 in float16; in other precisions it does nothing."""
        return torch.amp.GradScaler(self.where, enabled=self.dtype is torch.float16)


def send(values: npt.NDArray[np.float32], where: str) -> Tensor:
    """An array on the device. To a GPU through two pinned buffers in turn: one is copied while the other is filled."""
    if where != "cuda":
        return torch.from_numpy(values).to(where)
    there = torch.empty(values.shape, dtype=torch.float32, device=where)
    shape = (min(_PINNED_ROWS, len(values)), *values.shape[1:])
    buffers = [torch.empty(shape, pin_memory=True) for _ in range(2)]
    copied = [torch.cuda.Event() for _ in buffers]
    for turn, start in enumerate(range(0, len(values), _PINNED_ROWS)):
        rows = values[start : start + _PINNED_ROWS]
        copied[turn % 2].synchronize()
        buffer = buffers[turn % 2][: len(rows)]
        buffer.copy_(torch.from_numpy(rows))
        there[start : start + len(rows)].copy_(buffer, non_blocking=True)
        copied[turn % 2].record()
    torch.cuda.synchronize()
    return there
