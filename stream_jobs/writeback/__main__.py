"""``python -m stream_jobs.writeback``: predictions → the tables of business databases that take them."""

from __future__ import annotations

import time

from appliance.clients import kafka
from appliance.parts.base import Context
from stream_jobs.online.dead_letters import DeadLetters
from stream_jobs.online.writing import Writer, plan_changed
from stream_jobs.plan import Plan
from stream_jobs.writeback import record
from stream_jobs.writeback.flow import NAME, Flow

_WAIT_SECONDS = 0.25


class WritebackSession:
    """A flow for each service whose predictions are written back."""

    def __init__(self, context: Context, plan: Plan) -> None:
        services = {service.name for service in plan.services}
        dead_letters = DeadLetters(kafka.producer(context, NAME), context.names, NAME)
        self._flows = [
            Flow(context, target, dead_letters) for target in record.everyone(context) if target.service in services
        ]

    def whole(self) -> bool:
        return all(flow.whole for flow in self._flows)

    def step(self) -> int:
        if not self._flows:
            time.sleep(_WAIT_SECONDS)
        return sum(flow.step(_WAIT_SECONDS / len(self._flows)) for flow in self._flows)

    def close(self) -> None:
        for flow in self._flows:
            flow.close()


def _changed(context: Context) -> object:
    return plan_changed(context), record.changed(context)


if __name__ == "__main__":
    Writer(NAME, WritebackSession, changed=_changed).run()
