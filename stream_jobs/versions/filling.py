"""Fills a version from the lake before its job begins, where the captured topic no longer holds every change.

In a thread of ``flink-jobs``: killed, it begins again, as edits are idempotent. The job then starts at the offsets up
to which the lake was read, which the plan notes in the job's script.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import duckdb
from confluent_kafka import KafkaException
from msgspec.structs import replace

from appliance.clients import kafka
from appliance.errors import ApplianceError
from appliance.parts.base import Context
from stream_jobs.compiler import sql
from stream_jobs.plan import Plan, View
from stream_jobs.rebuild.fill import fill_edits_topic, startup_options
from stream_jobs.versions.transition import key

_LOGGER = logging.getLogger("flink-jobs")
_AGAIN_SECONDS = 30.0


class Filling:
    """One version at a time."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._thread: threading.Thread | None = None
        self._version = ""
        self._done = 0
        self._trouble = ""
        self._found: Mapping[int, int] | None = None
        self._ended_at = float("-inf")

    def look(self, plan: Plan) -> Plan:
        """Take note of what is filled, and begin with what is to be. Returns the plan as it is then."""
        if self._thread is not None and self._thread.is_alive():
            return plan
        if self._found is not None:
            plan, self._found = filled(plan, self._version, self._found), None
        if plan.to_fill and time.monotonic() - self._ended_at >= _AGAIN_SECONDS:
            view = next(each for each in plan.computed if key(each) == plan.to_fill[0])
            self._version, self._done, self._trouble = key(view), 0, ""
            self._thread = threading.Thread(target=self._fill, args=(plan, view), daemon=True)
            self._thread.start()
        return plan

    def words(self, version: str) -> str:
        """Where the filling of a version from the lake stands."""
        if version != self._version:
            return "waits to be filled from the lake"
        return self._trouble or f"{self._done:,} edits written from the lake, which has what the captured topic lacks"

    def _fill(self, plan: Plan, view: View) -> None:
        try:
            kafka.ensure_topics(self._context, {view.edits_topic: {}})
            self._found = fill_edits_topic(self._context, plan, view, self._note).next_offsets
            _LOGGER.info("filled from the lake", extra={"version": key(view), "edits": self._done})
        except (ApplianceError, KafkaException, duckdb.Error) as error:
            _LOGGER.error("cannot be filled from the lake", extra={"version": key(view)}, exc_info=error)
            self._trouble, self._ended_at = f"it cannot be filled from the lake: {error}", time.monotonic()

    def _note(self, done: int) -> None:
        self._done = done


def filled(plan: Plan, version: str, offsets: Mapping[int, int]) -> Plan:
    """The plan with a version whose job begins at these offsets of the captured topic."""

    def begun(views: tuple[View, ...]) -> tuple[View, ...]:
        return tuple(
            replace(view, sql=sql.start_at(view.sql, startup_options(offsets))) if key(view) == version else view
            for view in views
        )

    return replace(
        plan,
        views=begun(plan.views),
        coming=begun(plan.coming),
        former=begun(plan.former),
        to_fill=tuple(each for each in plan.to_fill if each != version),
    )
