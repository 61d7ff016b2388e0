"""Training set to torch to ONNX to Triton, and the registry of models."""
