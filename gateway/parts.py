"""The processes of this room, each ``python -m <module>`` in the serving environment."""

from __future__ import annotations

import urllib.error
import urllib.request

from appliance import alive
from appliance.errors import NotReadyError
from appliance.layout import Layout
from appliance.parts.base import BasePart, Context, Process
from appliance.ports import Port


class _Ours(BasePart):
    """A process of ours: ready when it has lately done a real unit of work (its alive key in Redis)."""

    name: str
    module: str

    def process(self, context: Context) -> Process:
        environment = {"PYTHONPATH": str(context.layout.code), "PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
        if context.layout != Layout.system():
            environment["APPLIANCE_HOME"] = str(context.layout.code.parent)
        return Process((context.python(), "-m", self.module), environment, context.layout.run)

    def ready(self, context: Context) -> None:
        alive.check(context, self.name)


class Scorer(_Ours):
    """Captured rows and Kafka requests → predictions and alerts."""

    name = "scorer"
    module = "gateway.scorer"
    needs = ("kafka", "redis", "triton", "writer-redis")


class Alerter(_Ours):
    """Alerts → OpenSearch; predictions → the day's counts."""

    name = "alerter"
    module = "gateway.alerter"
    needs = ("kafka", "redis", "opensearch")


class Gateway(_Ours):
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
