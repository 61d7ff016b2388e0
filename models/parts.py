"""The processes of this room."""

from __future__ import annotations

from appliance.parts.ours import OurProcess


class Trainer(OurProcess):
    """Runs the queue's jobs."""

    name = "trainer"
    module = "models.jobs"
    needs = ("redis", "postgres", "triton")
