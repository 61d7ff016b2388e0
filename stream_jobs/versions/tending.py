"""What ``flink-jobs`` does at each look about versions: sees how far they are, switches, lets go, removes.

Everything it knows is in the plan file and the stores, so it can be killed at any moment: the next look goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import Any

from confluent_kafka import KafkaException, TopicPartition
from msgspec.structs import replace
from redis.exceptions import RedisError

from appliance import users
from appliance.clients import hbase, kafka
from appliance.clock import wall_us
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan as plans
from stream_jobs.compiler.definition import Versions, inputs_hash, versions_file
from stream_jobs.online import reached as reached_positions
from stream_jobs.online.hbase_read import HBaseHistory
from stream_jobs.plan import Plan, Service, View
from stream_jobs.versions import agreement, models, progress, removal, transition
from stream_jobs.versions.filling import Filling
from stream_jobs.versions.holder import alone
from stream_jobs.versions.progress import Progress, Rate, Step
from stream_jobs.versions.transition import Ready, by_name, key, service_key

_LOGGER = logging.getLogger("flink-jobs")
_CATCH_UP_MS = 1_500
"""A version has caught up when it reaches, within this time, the position that the one before it had reached."""
_COMPARE_AGAIN_SECONDS = 20.0
_UNUSED_SECONDS = 10.0
"""Writers and readers look at the plan every 2 s: after this time none uses a version that has left it."""
_WORTH_MEASURING = 10_000
_FAILURES: tuple[type[Exception], ...] = (ApplianceError, RedisError, KafkaException, *hbase.FAILURES)
HOUR_US = 3_600_000_000


def kept_until(context: Context) -> int:
    """Until when a version that is replaced now is kept."""
    return wall_us() + context.settings.features.keep_former_hours * HOUR_US


class Tending:
    """redis: a redis-py client that returns bytes."""

    def __init__(self, context: Context, redis: Any) -> None:
        self._context, self._redis = context, redis
        self._compared: dict[str, tuple[float, Step]] = {}
        self._seen: dict[str, Step] = {}
        self._filling = Filling(context)
        self._trouble = ""

    def look(self, live: Collection[str], trouble: str = "") -> None:
        """live: names of the versions whose jobs have not ended. trouble: why a job could not be started."""
        self._trouble = trouble
        path = self._context.layout.plan_file
        plan = plans.read(path)
        if not (plan.coming or plan.coming_services or plan.former or plan.dropped or plan.to_fill):
            if progress.read(self._context).steps:
                progress.write(self._context, Progress(wall_us()))
            return
        with alone(self._context):
            plan = plans.read(path)
            steps: dict[str, Step] = {}
            self._seen = progress.read(self._context).steps
            after = self._filling.look(transition.expire(plan, wall_us()))
            steps |= {version: Step("filling", self._filling.words(version)) for version in after.to_fill}
            after = self._switched(after, steps)
            steps |= {
                key(view): Step("removing", "its topic, keys and table are being removed") for view in after.dropped
            }
            if time.time() - path.stat().st_mtime > _UNUSED_SECONDS:
                after = self._removed(after, plan, live)
            if after != plan:
                forget(self._context, plan, after)
                plans.write(after, path)
            progress.write(self._context, Progress(wall_us(), {n: self._dated(n, step) for n, step in steps.items()}))

    def _dated(self, name: str, step: Step) -> Step:
        seen = self._seen.get(name)
        return replace(step, since=seen.since if seen else wall_us())

    def _switched(self, plan: Plan, steps: dict[str, Step]) -> Plan:
        serving = by_name(plan.views)
        begun = {name for service in plan.coming_services for name in service.views} - {v.name for v in plan.coming}
        ready = set()
        for view in (*plan.coming, *(serving[name] for name in sorted(begun))):
            if key(view) in plan.to_fill:
                continue
            step = self._step(plan, serving.get(view.name), view)
            if view in plan.coming or step.state != "ready":
                steps[key(view)] = step
            if step.state == "ready":
                ready.add(key(view))
        fit = set()
        for service in plan.coming_services:
            step = self._model(plan, service)
            steps[service_key(service.name)] = step
            if step.state == "ready":
                fit.add(service.name)
        after = transition.switch(plan, Ready(frozenset(ready), frozenset(fit)), kept_until(self._context))
        if after != plan:
            _LOGGER.info(
                "switched", extra={"views": [key(v) for v in after.views], "former": [key(v) for v in after.former]}
            )
            for view in after.views:
                steps.pop(key(view), None)
            for service in set(plan.coming_services) - set(after.coming_services):
                steps.pop(service_key(service.name))
        return after

    def _step(self, plan: Plan, serving: View | None, view: View) -> Step:
        """Where a coming version stands, or a new view that a service is to use."""
        names = self._context.names
        before = serving if serving is not None and key(serving) != key(view) else None
        others = [before] if before else [each for each in plan.views if each.source == view.source and each != view]
        there = [one for one in reached_positions.read(self._redis, names, others).values() if one is not None]
        if not there:
            found = reached_positions.read(self._redis, names, [view])[view.name]
            return Step("ready", "") if found else Step("filling", "no position reached yet: nothing is captured yet")
        aim = max(one.position for one in there)
        if not reached_positions.wait(self._redis, names, [view], aim, _CATCH_UP_MS):
            return Step("filling", self._behind(view, max(one.known_at for one in there)))
        self._measure(view)
        return self._agrees(plan, before, view) if before else Step("ready", "")

    def _behind(self, view: View, served_at: int) -> str:
        found = reached_positions.read(self._redis, self._context.names, [view])[view.name]
        if self._trouble:
            return f"its job does not start: {self._trouble}"
        if found is None:
            return "its job begins to read the captured topic"
        return f"{max(0, served_at - found.known_at) / 1e6:,.0f} s of changes behind"

    def _agrees(self, plan: Plan, serving: View, coming: View) -> Step:
        looked, step = self._compared.get(key(coming), (float("-inf"), Step("filling", "")))
        if time.monotonic() - looked < _COMPARE_AGAIN_SECONDS:
            return step
        found = agreement.compare(
            self._redis, self._context.names, plan, serving, coming, HBaseHistory.of(self._context)
        )
        if found.differences:
            text = f"it does not agree with {key(serving)}: {'; '.join(found.differences)}"
            _LOGGER.error("versions differ", extra={"version": key(coming), "differences": found.differences})
            step = Step("differs", text)
        else:
            step = Step("ready", f"{len(found.features)} features of {found.entities} entities agree")
        self._compared[key(coming)] = time.monotonic(), step
        return step

    def _model(self, plan: Plan, service: Service) -> Step:
        """Whether the model that a coming service names knows its inputs."""
        target = by_name(plan.views) | by_name(plan.coming)
        before, wanted = plan.service(service.name), inputs_hash(service, target)
        same = before.model == service.model and inputs_hash(before, by_name(plan.views)) == wanted
        if same or before.model not in models.scoring(self._context):
            return Step("ready", "")
        if models.inputs_of(self._context, service.model) == wanted:
            return Step("ready", f"model {service.model} knows its inputs")
        return Step("waiting", f"no model {service.model} with its inputs: appliance model train {service.name}")

    def _measure(self, view: View) -> None:
        """Note how fast a version was filled: when it is first seen to have caught up."""
        seen = self._seen.get(key(view))
        if seen is None or seen.state != "filling":
            return
        seconds = (wall_us() - seen.since) / 1e6
        records = sum(high - low for low, high in offsets(self._context, view.source_topic).values())
        if records >= _WORTH_MEASURING:
            progress.measured(self._context, Rate(records, seconds, key(view), wall_us()))

    def _removed(self, after: Plan, before: Plan, live: Collection[str]) -> Plan:
        """Remove the dropped versions that nothing uses any more."""
        for view in after.dropped:
            if view not in before.dropped or key(view) in live:
                continue
            try:
                removal.remove(self._context, self._redis, view)
            except _FAILURES as error:
                _LOGGER.warning("not removed yet", extra={"version": key(view)}, exc_info=error)
            else:
                after = transition.removed(after, view)
        return after


def forget(context: Context, before: Plan, after: Plan) -> None:
    """Let the numbers of newly dropped versions never be given again. Call it before the plan is written."""
    versions = Versions(versions_file(context))
    for view in set(after.dropped) - set(before.dropped):
        versions.forget(view.name, view.version)
    versions.save()


def offsets(context: Context, topic: str) -> dict[int, tuple[int, int]]:
    """Partition → (first, end) offset of a topic's records; empty if it does not exist. Raises KafkaException."""
    reader = kafka.consumer(context, users.ADMINISTRATOR, f"{context.installation.tenant}.appliance.offsets")
    try:
        known = reader.list_topics(timeout=10).topics
        partitions = known[topic].partitions if topic in known else {}
        return {each: reader.get_watermark_offsets(TopicPartition(topic, each), timeout=10) for each in partitions}
    finally:
        reader.close()
