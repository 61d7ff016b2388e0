"""The processes of this room, each ``python -m <module>`` in the serving environment."""

from __future__ import annotations

import urllib.error
import urllib.request

from appliance import alive
from appliance.errors import NotReadyError
from appliance.parts.base import Context
from appliance.parts.ours import OurProcess
from appliance.ports import Port


class Scorer(OurProcess):
    """Captured rows and Kafka requests → predictions and alerts."""

    name = "scorer"
    module = "gateway.scorer"
    needs = ("kafka", "redis", "triton", "writer-redis")


class Alerter(OurProcess):
    """Alerts → OpenSearch; predictions → the day's counts."""

    name = "alerter"
    module = "gateway.alerter"
    needs = ("kafka", "redis", "opensearch")


class Learner(OurProcess):
    """Scores of versions in shadow; rounds of the learning loop."""

    name = "learner"
    module = "gateway.learner"
    needs = ("kafka", "redis", "triton", "trainer")


class Gateway(OurProcess):
    """HTTP API and console."""

    name = "gateway"
    module = "gateway.http"
    needs = ("postgres", "kafka", "redis", "triton", "opensearch")
    listens = Port.GATEWAY

    def ready(self, context: Context) -> None:
        """The health page answers, and so does everything behind it."""
        address = f"http://127.0.0.1:{context.port(Port.GATEWAY)}/health"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                answer.read()
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise NotReadyError("gateway.not_ready", f"GET {address}: {error}") from error
        alive.check(context, self.name)
