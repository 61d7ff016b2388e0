"""Run in the training environment: ``python learning_scores.py MODEL.onnx X.npy SCORES.npy``, [n, k] → [n]."""

from __future__ import annotations

import sys

import numpy as np
import onnxruntime

if __name__ == "__main__":
    model, x, out = sys.argv[1:]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    scores = session.run(["score"], {"features": np.load(x).astype(np.float32)})[0]
    np.save(out, np.asarray(scores)[:, 0].astype(np.float64))
