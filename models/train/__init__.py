"""Training, in the training environment: the only place that imports torch. Run as ``python -m models.train SPEC``."""
