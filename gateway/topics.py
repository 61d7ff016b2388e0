"""The topics of the services that a plan names."""

from __future__ import annotations

from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs.plan import Plan


def ensure(context: Context, plan: Plan) -> None:
    """Create the topics of each service where they are missing. Raises PartError."""
    names = context.names
    kinds = (names.requests, names.predictions, names.feedback, names.shadow)
    kafka.ensure_topics(context, {kind(service.name): {} for service in plan.services for kind in kinds})
