"""The users our processes are on Kafka and Redis. Each has a secret ``kafka.<user>`` and ``redis.<user>``."""

from __future__ import annotations

ADMINISTRATOR = "appliance"
"""May do everything; used by the ``appliance`` command itself."""

OURS = (
    "flink", "marker", "mender", "writer-redis", "writer-hbase", "writer-lake", "writeback", "scorer", "alerter",
    "gateway", "learner",
)  # fmt: skip
"""One for each kind of process of ours."""
