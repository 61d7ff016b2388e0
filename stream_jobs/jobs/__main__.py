"""``python -m stream_jobs.jobs``: the keeper's loop."""

from __future__ import annotations

import logging
import signal
import threading

import redis as redis_client

from appliance import alive, logs
from appliance.clients import flink, kafka, redis
from appliance.context import current
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs import plan
from stream_jobs.errors import FlinkJobError
from stream_jobs.jobs import keeper, submission, wanted
from stream_jobs.versions.tending import Tending

_NAME = "flink-jobs"
_USER = "flink"
_POLL_SECONDS = 2.0
_LOGGER = logging.getLogger(_NAME)


class _Loop:
    """State that lasts from one look to the next."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = redis.connect(context, _USER)
        self._restores = keeper.Restores()
        self._tending = Tending(context, self._store)

    def look(self) -> bool:
        """Compare and mend once. Returns whether everything wanted runs. Raises ApplianceError, redis.RedisError."""
        context = self._context
        tenant = context.installation.tenant
        if not context.layout.plan_file.exists():
            flink.call(context, "/overview")
            alive.touch(self._store, context.names, _NAME)
            return True
        now = plan.read(context.layout.plan_file)
        jobs = wanted.jobs(now, tenant, context.data("flink") / "checkpoints")
        needed = [name for name, job in jobs.items() if job.view in now.views]
        listed = flink.jobs(context)
        todo = keeper.steps(listed, jobs, wanted.prefix(tenant), needed)
        for job in todo.cancel:
            flink.cancel(context, job)
        failed = keeper.failed_names(listed)
        self._start([jobs[name] for name in todo.submit if name in needed], failed)
        trouble = ""
        try:
            self._start([jobs[name] for name in todo.submit if name not in needed], failed)
        except FlinkJobError as error:
            _LOGGER.warning("a version that is not served cannot be filled", exc_info=error)
            trouble = error.message
        self._tending.look(wanted.versions(listed, tenant), trouble)
        if todo.settled:
            alive.touch(self._store, context.names, _NAME)
        return todo.settled

    def _start(self, missing: list[wanted.Job], failed: frozenset[str]) -> None:
        """Submit these jobs, if there are any. Raises FlinkJobError."""
        if missing:
            self._topics(missing)
            keeper.start_missing(missing, failed, self._restores, lambda each: submission.submit(self._context, each))

    def _topics(self, jobs: list[wanted.Job]) -> None:
        """Create what the jobs read and write, and check that the edits topics fit the plan."""
        names = {self._context.names.dead_letters(_USER)}
        for job in jobs:
            names |= {job.view.source_topic, job.view.edits_topic}
        kafka.ensure_topics(self._context, {name: {} for name in names})
        topics = kafka.admin(self._context).list_topics(timeout=10).topics
        found = {name: len(topic.partitions) for name, topic in topics.items()}
        keeper.check_partitions(found, jobs, self._context.settings.kafka.partitions)


def main() -> None:
    """Runs until told to stop. Flink, Kafka or Redis away: it says so once a change and tries again."""
    logger = logs.setup(_NAME)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    loop = _Loop(current())
    said = ""
    while not stop.is_set():
        try:
            state = "all jobs run" if loop.look() else "not all jobs run yet"
            if state != said:
                logger.info(state)
        except (ApplianceError, redis_client.RedisError) as error:
            state = f"{type(error).__name__}: {error}"
            if state != said:
                logger.warning("waiting", exc_info=error)
        said = state
        stop.wait(_POLL_SECONDS)
    logger.info("stopped")


if __name__ == "__main__":
    main()
