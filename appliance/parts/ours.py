"""What the parts that are processes of our own share."""

from __future__ import annotations

from appliance import alive
from appliance.parts.base import BasePart, Context, Process


class OurProcess(BasePart):
    """``python -m <module>`` in the serving environment; ready when it has lately done a real unit of work."""

    name: str
    module: str

    def process(self, context: Context) -> Process:
        environment = {"PYTHONUNBUFFERED": "1", "MALLOC_ARENA_MAX": "2"}
        return Process((context.python(), "-m", self.module), environment, context.layout.run)

    def ready(self, context: Context) -> None:
        alive.check(context, self.name)
