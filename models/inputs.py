"""The inputs of a service's model."""

from __future__ import annotations

from stream_jobs.plan import Service


def of(service: Service) -> tuple[str, ...]:
    """Columns of the training set that are the model's inputs, in its order."""
    return tuple(feature.partition(":")[2] for feature in service.features)
